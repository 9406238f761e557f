"""Files that no command may trip over: each a name, how to make it, and what the error must say.

Text lies in ``tests/corpus/bad/`` with ``expected.toml``; binary files are made here, always the same. ``make`` writes
the file at the path it is given, and whatever must lie beside it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bad_caffemodels import CAFFEMODELS
from bad_externals import EXTERNALS
from bad_foreign import FOREIGN
from bad_onnx import ONNX
from bad_safetensors import SAFETENSORS

CORPUS = Path(__file__).parents[1] / "corpus" / "bad"
Table = Mapping[str, tuple[Callable[[Path], object], tuple[str, ...]]]

NETWORK = """\
name: "net"
input: "data"
input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
"""
"""The prototxt that bad weights are given for."""

_TINY = ("--tasks", "a,b", "--input-size", "32,48")
COMMANDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "prototxt": ("bad.prototxt", ("inspect", "{}")),
    "onnx": ("bad.onnx", ("inspect", "{}")),
    "external": ("bad.onnx", ("inspect", "{}")),
    "foreign": ("bad.onnx", ("inspect", "{}")),
    "caffemodel": ("bad.caffemodel", ("convert", "net.prototxt", "out.onnx", "--weights", "{}")),
    "safetensors": ("bad.safetensors", ("convert", "net.prototxt", "out.onnx", "--weights", "{}")),
    "plan": ("bad.json", ("build", "zoo:tiny", "out.onnx", *_TINY, "--plan", "{}")),
    "layout": ("bad.json", ("build", "zoo:tiny", "out.onnx", *_TINY, "--layout", "{}")),
    "pipeline": ("bad.toml", ("search", "{}", "--out", "run")),
}
"""By kind: what the file is called, and the command it is given to."""


@dataclass(frozen=True)
class Bad:
    """One bad file.

    Attributes:
        kind: Which command it is for.
        name: What is wrong with it.
        make: Writes it.
        says: What the error must hold: a place, and a word about the fault.
    """

    kind: str
    name: str
    make: Callable[[Path], object]
    says: tuple[str, ...]

    def place(self, folder: Path) -> list[str]:
        """Write the file and its surroundings into ``folder`` and return the arguments of the command."""
        file, command = COMMANDS[self.kind]
        if self.kind in ("caffemodel", "safetensors"):
            (folder / "net.prototxt").write_text(NETWORK)
        self.make(folder / file)
        return [file if argument == "{}" else argument for argument in command]


def bad_files() -> dict[str, Bad]:
    """Return all bad files by ``kind/name``."""
    tables: Mapping[str, Table] = {
        "onnx": ONNX,
        "external": EXTERNALS,
        "foreign": FOREIGN,
        "caffemodel": CAFFEMODELS,
        "safetensors": SAFETENSORS,
        **{kind: _places(COMMANDS[kind][0]) for kind in ("plan", "layout", "pipeline")},
    }
    made = [Bad(kind, name, make, says) for kind, table in tables.items() for name, (make, says) in table.items()]
    return {f"{bad.kind}/{bad.name}": bad for bad in [*_texts(), *made]}


def _places(file: str) -> Table:
    """What lies where a file should be, and would hang or fill the memory of whoever reads it unasked."""
    return {
        "place_missing": (lambda path: None, (f"{file}: ", "no such file")),
        "place_folder": (lambda path: path.mkdir(), (f"{file}: ", "is a folder")),
        "place_pipe": (os.mkfifo, (f"{file}: ", "pipe or device")),
        "place_endless": (lambda path: path.symlink_to("/dev/zero"), (f"{file}: ", "pipe or device")),
        "place_too_large": (lambda path: path.write_bytes(b" " * (2**24 + 1)), (f"{file}: ", "at most")),
    }


def _texts() -> list[Bad]:
    expected = tomllib.loads((CORPUS / "expected.toml").read_text(encoding="utf-8"))
    found = []
    for kind, table in expected.items():
        files = {path.stem: path for path in (CORPUS / kind).iterdir()}
        assert files.keys() == table.keys(), f"{kind}: {sorted(files.keys() ^ table.keys())}"
        found += [Bad(kind, name, _copy(files[name]), tuple(says)) for name, says in table.items()]
    return found


def _copy(source: Path) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(source.read_bytes())
