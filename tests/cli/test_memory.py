"""Properties: a process that keeps freed memory touches it once."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.golden

PROGRAM = """
import resource
from trunkline.cli.memory import keep_freed_memory
{keep}
def faults_of(step):
    step(), step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def step():
    pieces = [bytearray(40 << 20) for _ in range(2)]
    for piece in pieces:
        piece[:: 4096] = bytes(len(piece) // 4096)
print(faults_of(step))
"""


def faults(keep: str) -> int:
    program = PROGRAM.format(keep=keep)
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the setting is glibc's")
def test_freed_memory_is_used_again() -> None:
    assert faults("assert keep_freed_memory()") < 0.1 * faults("")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from trunkline.cli import memory

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()
