"""Training steps beside other programs: threads that sleep while others need the cores, next to threads that spin.

Three processes train the same network with two threads and make their steps in turns: as the trainer does (a watch
lets waiting threads sleep while the cores are contended), as torch does by itself (they spin), and with
OMP_WAIT_POLICY=passive (they always sleep). First with the machine as it is, which should be quiet; then with a busy
loop for each core beside them. The ratios are those of each to torch by itself. Passive waiting is there to show what
it costs without neighbours.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from bench_suite.common import Series
from bench_suite.models import RESNET, TINY
from bench_suite.result import Result, Target, speed_up
from trunkline.spinning import WAIT_VARIABLES

THREADS = 2
WATCHED, SPINNING, PASSIVE = "watched", "spinning", "passive"
WAYS: Mapping[str, Mapping[str, str]] = {WATCHED: {}, SPINNING: {}, PASSIVE: {"OMP_WAIT_POLICY": "passive"}}
QUIET_TARGET, BUSY_TARGET = Target(0.97), Target(3.0)

CHILD = """
import contextlib, sys, time
import torch
from bench_suite.policy_step import Case, Step
from bench_suite.result import Target
from trunkline.spinning import spin_only_when_quiet
from trunkline.cli.memory import keep_freed_memory

keep_freed_memory()
torch.set_num_threads(2)
net, tasks, size, way = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
step = Step(Case(net, tasks, size, Target(1.0)), "weight", "both")
with spin_only_when_quiet() if way == "watched" else contextlib.nullcontext():
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        print((time.perf_counter() - start) / int(line) * 1e3, flush=True)
"""


class Trainer:
    """A process that makes steps when it is asked to."""

    def __init__(self, net: str, tasks: int, size: int, way: str) -> None:
        kept = {key: value for key, value in os.environ.items() if key not in (*WAIT_VARIABLES, "OMP_NUM_THREADS")}
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, net, str(tasks), str(size), way],
            env={**kept, **WAYS[way]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def steps(self, count: int) -> float:
        """Return milliseconds a step."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def run(quick: bool) -> list[Result]:
    """Measure a small and a large network, without and with neighbours; nothing where there is one core only."""
    if (os.cpu_count() or 1) < THREADS:
        return []
    cases = [(TINY, 2, 32)] if quick else [(TINY, 3, 64), (RESNET, 2, 64)]
    return [result for net, tasks, size in cases for result in _results(net, tasks, size, quick)]


def _results(net: str, tasks: int, size: int, quick: bool) -> list[Result]:
    name = f"{net.removeprefix('zoo:')}, {tasks} tasks, {size}x{size}"
    with ExitStack() as stack:
        trainers = {way: Trainer(net, tasks, size, way) for way in WAYS}
        for trainer in trainers.values():
            stack.callback(trainer.end)
            trainer.steps(2)
        rounds = 2 if quick else 11
        alone = _in_turns(trainers, rounds, 1 if quick else 4)
        with _neighbours(1 if quick else os.cpu_count() or 1):
            for trainer in trainers.values():  # the watch needs a moment to notice
                trainer.steps(1)
            beside = _in_turns(trainers, rounds, 1)
    return [
        speed_up(f"{name}, quiet", alone[WATCHED], alone[SPINNING], target=QUIET_TARGET),
        speed_up("  always passive, quiet", alone[PASSIVE], alone[SPINNING]),
        speed_up(f"{name}, a busy loop a core", beside[WATCHED], beside[SPINNING], target=BUSY_TARGET),
        speed_up("  always passive, a busy loop a core", beside[PASSIVE], beside[SPINNING]),
    ]


def _in_turns(trainers: Mapping[str, Trainer], rounds: int, steps: int) -> dict[str, Series]:
    """Let each make ``steps`` steps in every round, in random order."""
    order, generator = list(trainers), random.Random(0)
    times: dict[str, Series] = {way: [] for way in trainers}
    for _ in range(rounds):
        generator.shuffle(order)
        for way in order:
            times[way].append(trainers[way].steps(steps))
    return times


@contextmanager
def _neighbours(count: int) -> Iterator[None]:
    """Other programs that never rest."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.2)
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
