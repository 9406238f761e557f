"""The ONNX reader on damaged files: good models with bytes changed, read as a user's file is."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random

from fuzz.bytes_mutator import mutate_bytes
from fuzz.graphs import network
from fuzz.target import Target
from trunkline.ingest.read import read as read_file
from trunkline.limits import Limits

CORPUS = Path(__file__).parents[1] / "tests" / "corpus" / "fuzz" / "onnx"
LIMITS = Limits(tensor_elements=2**24, total_elements=2**26, folded_elements=2**20, nodes=2000)


@cache
def folder() -> Path:
    """Return a folder of this process for the files it reads."""
    made = Path(tempfile.mkdtemp(prefix="trunkline-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    (made / "weights.bin").write_bytes(bytes(4096))
    return made


def read(data: bytes) -> None:
    """Write the file and read it."""
    path = folder() / "net.onnx"
    path.write_bytes(data)
    read_file(path, limits=LIMITS)


@cache
def seeds() -> tuple[bytes, ...]:
    """Twenty generated models, and earlier findings."""
    made = [network(Random(index)).SerializeToString() for index in range(20)]
    return (*made, *(path.read_bytes() for path in sorted(CORPUS.glob("*"))))


def mutate(data: bytes, other: bytes, rng: Random) -> bytes:
    """Change bytes; weights, which hold most of them, are spared by aiming at text and short fields."""
    if len(data) > 64 and rng.random() < 0.7:
        at = rng.choice([index for index in range(0, len(data), 3) if data[index] < 0x80] or [0])
        near = data[at : at + 24]
        return data[:at] + mutate_bytes(near, other, rng) + data[at + 24 :]
    return mutate_bytes(data, other, rng)


TARGET = Target("onnx", read, seeds, mutate, "trunkline/ingest/onnx_file", guided=False, longest=2**16)
