"""The command line as a user meets it: in this process where speed counts, in one of its own where that matters."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import trunkline
from trunkline.cli.main import run

FEATURES = (48, 8, 12)
"""What zoo:tiny gives for an image of 32 x 48."""

ROOT = Path(trunkline.__file__).parents[1]

PIPELINE = """\
preset = "demo"
backbone = "zoo:tiny"
seed = 3

[tasks.segmentation]
[tasks.depth]

[data]
kind = "scenes"
size = [32, 48]
length = 16
val_length = 2
tasks = ["segmentation", "depth"]

[search]
steps = [2, 4]
alternate = [1, 1]

[train]
steps = 4
batch_size = 2
eval_every = 4
checkpoint_every = 2

[export]
parity_inputs = 2

[bench]
samples = 11
limit_s = 0.05
"""


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The result: stdout must hold one JSON value and nothing else."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Finished:
    """A run that is done; nobody may change its folder."""

    pipeline: Path
    out: Path
    said: Said


def invoke(*arguments: object) -> Said:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def python(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start Python as a user would have it."""
    return subprocess.Popen(
        [sys.executable, *(str(argument) for argument in arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def spawn(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return python("-m", "trunkline.cli.main", *arguments, cwd=cwd, **environment)


def ended(process: subprocess.Popen[str]) -> Said:
    """Wait for a process."""
    out, err = process.communicate(timeout=100)
    return Said(process.returncode, out, err)


def pipeline(folder: Path, *changes: tuple[str, str], name: str = "pipeline.toml") -> Path:
    """Write the tiny pipeline with parts of its text replaced."""
    text = PIPELINE
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the pipeline"
        text = text.replace(old, new)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but locks and the list of sessions, which grows with each start."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "sessions.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refused(said: Said, *fragments: str, code: int = 2) -> None:
    """The command said what is wrong and where, and nothing on stdout."""
    assert said.code == code, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.count("\n") >= 1
    for fragment in fragments:
        assert fragment in said.err, said.err


def own_head(path: Path | str, channels: int) -> None:
    """A user's head: one pointwise convolution."""
    weight = np.random.default_rng(0).standard_normal((channels, FEATURES[0], 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["f", "w"], ["y"], name="predict")],
        "head",
        [helper.make_tensor_value_info("f", onnx.TensorProto.FLOAT, ["n", *FEATURES])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
