"""Abuse: work that raises, hangs, dies or takes too much ends as a fact, and its parent goes on."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo_check.bounded import Bounds, run_bounded

pytestmark = pytest.mark.abuse


def works(number: int) -> dict[str, Any]:
    sys.stdout.write("said on the way\n")
    return {"number": number + 1}


def raises(_: int) -> dict[str, Any]:
    raise ValueError("no such layer")


def dies(_: int) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGTERM)
    return {}


def waits(_: int) -> dict[str, Any]:
    time.sleep(600)
    return {}


def spins(_: int) -> dict[str, Any]:
    while True:
        pass


def takes(_: int) -> dict[str, Any]:
    return {"bytes": len(bytearray(8 * 2**30))}


def stops(_: int) -> dict[str, Any]:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(600)
    return {}


BOUNDS = Bounds(cpu_s=1, wall_s=200, memory_bytes=4 * 2**30)


def test_results_return_and_words_are_logged(tmp_path: Path) -> None:
    """A result comes back and words go to the log."""
    ended = run_bounded(works, 3, log=tmp_path / "one.log", bounds=Bounds())
    assert (ended.result, ended.why) == ({"number": 4}, "")
    assert ended.peak_bytes > 0
    assert (tmp_path / "one.log").read_text() == "said on the way\n"
    assert [path.name for path in tmp_path.iterdir()] == ["one.log"]


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (raises, "ValueError: no such layer"),
        (dies, "killed by SIGTERM"),
        (spins, "took too long"),
        (takes, "MemoryError"),
    ],
)
def test_bad_work_ends_with_a_reason(work: Callable[[int], dict[str, Any]], why: str, tmp_path: Path) -> None:
    ended = run_bounded(work, 0, log=tmp_path / "log", bounds=BOUNDS)
    assert (ended.result, ended.why) == (None, why)


def test_work_that_waits_forever_ends(tmp_path: Path) -> None:
    ended = run_bounded(waits, 0, log=tmp_path / "log", bounds=Bounds(wall_s=1))
    assert (ended.result, ended.why) == (None, "took too long, or too much memory")


def test_old_answers_are_not_new_ones(tmp_path: Path) -> None:
    """An old answer is never taken for a new one."""
    (tmp_path / "log.answer").write_text('{"number": 1}')
    assert run_bounded(raises, 0, log=tmp_path / "log", bounds=BOUNDS).result is None


def test_an_interrupt_ends_the_work_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_bounded(stops, 0, log=tmp_path / "log", bounds=Bounds())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
