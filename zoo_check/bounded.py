"""One piece of work in a process of its own, with bounds on time and memory; whatever happens there, we go on."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

Json = dict[str, Any]

_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one piece of work may take.

    Attributes:
        cpu_s: Processor time; a busy machine does not change it.
        wall_s: Time on the clock, for work that waits forever.
        memory_bytes: Address space.
    """

    cpu_s: int = 900
    wall_s: int = 3600
    memory_bytes: int = 24 * 2**30


@dataclass(frozen=True, slots=True)
class Ended:
    """How the work ended.

    Attributes:
        result: What it returned; ``None`` where it did not come to that.
        why: Why it did not: its exception, or what killed it.
        cpu_s: Processor time it took.
        peak_bytes: Most memory it held.
    """

    result: Json | None
    why: str
    cpu_s: float
    peak_bytes: int


def run_bounded(work: Callable[..., Mapping[str, Any]], *arguments: object, log: Path, bounds: Bounds) -> Ended:
    """Run ``work`` in a forked process. What the parent has imported is there already, which saves seconds each time.

    Args:
        work: Returns plain JSON types.
        arguments: Its own.
        log: Gets what it prints, and its traceback.
        bounds: What it may take.
    """
    answer = log.with_suffix(".answer")
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _in_child(work, arguments, log, answer, bounds)
    try:
        status, usage = _wait(child, bounds.wall_s)
    except BaseException:  # Ctrl-C: the child has a group of its own and would go on alone
        os.killpg(child, signal.SIGKILL)
        os.wait4(child, 0)
        answer.unlink(missing_ok=True)
        raise
    said = answer.read_text() if answer.exists() else ""
    answer.unlink(missing_ok=True)
    seconds, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    if status == 0 and said:
        return Ended(json.loads(said), "", seconds, peak)
    return Ended(None, _why(status, said), seconds, peak)


def _in_child(
    work: Callable[..., Mapping[str, Any]], arguments: tuple[object, ...], log: Path, answer: Path, bounds: Bounds
) -> NoReturn:
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a parent may have a handler of its own
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = sys.stderr = os.fdopen(handle, "w")  # a parent's own streams need not end at 1 and 2
        resource.setrlimit(resource.RLIMIT_CPU, (bounds.cpu_s, bounds.cpu_s + 5))
        resource.setrlimit(resource.RLIMIT_AS, (bounds.memory_bytes, bounds.memory_bytes))
        answer.write_text(json.dumps(work(*arguments)))
        code = 0
    except BaseException as error:
        traceback.print_exc()
        answer.write_text(f"{type(error).__name__}: {error}".removesuffix(": "))
    finally:
        sys.stdout.flush()
        os._exit(code)  # not sys.exit: the parent's clean-up must not run twice


def _wait(child: int, wall_s: int) -> tuple[int, resource.struct_rusage]:
    started = time.monotonic()
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage
        if time.monotonic() - started > wall_s:
            os.killpg(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return status, usage
        time.sleep(_LOOK_EVERY_S)


def _why(status: int, said: str) -> str:
    if not os.WIFSIGNALED(status):
        return " ".join(said.split())[:500] or "ended without an answer"
    number = signal.Signals(os.WTERMSIG(status))
    reasons = {signal.SIGXCPU: "took too long", signal.SIGKILL: "took too long, or too much memory"}
    return reasons.get(number, f"killed by {number.name}")
