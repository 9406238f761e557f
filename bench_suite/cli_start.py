"""Start of the command line: CPU time of whole commands, next to that of importing torch in the same Python.

``--help`` must not load what it does not need, and ``inspect`` needs no torch.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from bench_suite.common import in_turns
from bench_suite.result import Result, Target, speed_up

COMMANDS = (("--help",), ("inspect", "zoo:tiny"))
TARGETS = {"--help": Target(5.0), "inspect": Target(1.5)}
_TORCH = [sys.executable, "-c", "import torch"]


def run(quick: bool) -> list[Result]:
    """Start each command and Python with torch in turns, each in a process of its own."""
    rounds = 1 if quick else 15
    results: list[Result] = []
    for command in COMMANDS:
        ours, theirs = in_turns(partial(_start, command), _import_torch, rounds=rounds, clock=_cpu_ns)
        name = f"trunkline {' '.join(command)} (theirs: import torch)"
        results.append(speed_up(name, ours, theirs, target=TARGETS[command[0]]))
    return results


def _start(arguments: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "trunkline", *arguments], check=True, capture_output=True)


def _import_torch() -> None:
    subprocess.run(_TORCH, check=True, capture_output=True)


def _cpu_ns() -> int:
    """Return the CPU time of all processes that were started and have ended: neighbours do not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((used.ru_utime + used.ru_stime) * 1e9)
