"""How latencies are measured: warm until flat, then all candidates in every round, in random order.

Candidates that take turns meet the same neighbours, clock steps and temperatures, so that their ratios are
good even where their times are not. Each runs once before its timed run, so that it meets its own caches and not
those of others. Nothing but the runs themselves is inside the timed region.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np

from trunkline.bench.candidate import Candidate, OutputCheck
from trunkline.bench.device.conditions import Conditions
from trunkline.bench.device.state import DeviceState, read_device
from trunkline.bench.environment import Environment, read_environment
from trunkline.bench.latency import Latency, summarise
from trunkline.bench.settings import Settings
from trunkline.bench.stability import is_flat
from trunkline.bench.statistics import minimum_samples
from trunkline.errors import InvalidConfig, WorkFailed

Clock = Callable[[], int]
Progress = Callable[[int, int], None]
DeviceReader = Callable[[], DeviceState]

_NANOSECONDS_PER_MS = 1e6
_NANOSECONDS_PER_S = 1e9
_CHECKED_SHARE = 0.125
"""Share of rounds, after the first, whose outputs are compared; that moves data, so it is not done every time."""


def measure(
    candidates: Sequence[Candidate],
    settings: Settings | None = None,
    *,
    clock: Clock = time.perf_counter_ns,
    environment: Environment | None = None,
    device: DeviceReader | None = None,
    progress: Progress | None = None,
) -> list[Latency]:
    """Measure candidates against each other.

    Args:
        candidates: With distinct names; the first is usually the baseline.
        settings: How long and how carefully; the defaults where not given.
        clock: Returns nanoseconds; replaceable, so that the protocol can be tested without time.
        environment: Where this runs; read from the machine where not given.
        device: Reads the state of the device, before the warm-up and after the last round; this machine's where not
            given. If the device was held back in between, no latency is steady.
        progress: Called after each round with the rounds done and the rounds planned.

    Returns:
        One :class:`Latency` a candidate, in the order given, their samples paired by round.

    Raises:
        InvalidConfig: There is no candidate, or two share a name.
        WorkFailed: An output is not finite or not repeatable, or the clock does not advance.
    """
    settings = settings or Settings()
    _require_distinct(candidates)
    environment = environment or read_environment()
    # A GPU is asked only where it computes: that takes a moment, and others' work there is not ours.
    read = device or partial(read_device, gpu=settings.provider != "cpu")
    bench = _Bench(candidates, settings, clock)
    before = read()
    with _garbage_collector_paused():
        warm_up_reason = bench.warm_up()
        samples = bench.rounds(progress)
    conditions = Conditions(before, read())
    return [
        replace(
            summarise(candidate, tuple(series), environment, conditions=conditions, warm_up_reason=warm_up_reason),
            device_p50_ms=statistics.median(device_ms) if device_ms else None,
        )
        for candidate, series, device_ms in zip(candidates, samples, bench.device_ms, strict=True)
    ]


class _Bench:
    """The state of one measurement."""

    def __init__(self, candidates: Sequence[Candidate], settings: Settings, clock: Clock) -> None:
        self._candidates = candidates
        self._settings = settings
        self._clock = clock
        self._checks = [OutputCheck(candidate, settings.output_tolerance) for candidate in candidates]
        self._generator = np.random.default_rng(settings.seed)
        self.device_ms: list[list[float]] = [[] for _ in candidates]
        """What devices of their own took, by candidate and timed round; empty where they do not tell."""

    def warm_up(self) -> str:
        """Run every candidate, interleaved, until all running medians are flat; return why if they never were."""
        series: list[list[float]] = [[] for _ in self._candidates]
        start = self._clock()
        # The first outputs of each input are what later ones are compared with.
        for turn in range(self._settings.inputs):
            self._turn(turn, series, checked=True)
        turn = self._settings.inputs
        # Flat is not enough: a quick model has the samples of two medians within a millisecond.
        while not (all(map(is_flat, series)) and self._since(start) >= self._settings.warm_up_seconds):
            # A noisy machine may never be flat; the reason then goes into the result.
            if self._since(start) >= self._settings.warm_up_limit_seconds:
                limit = self._settings.warm_up_limit_seconds
                return f"the running median was not flat after {limit:g} s of warm-up"
            self._turn(turn, series, checked=False)
            turn += 1
        return ""

    def rounds(self, progress: Progress | None) -> list[list[float]]:
        """Return the timed samples of every candidate, in milliseconds."""
        series: list[list[float]] = [[] for _ in self._candidates]
        start = self._clock()
        while not self._enough(len(series[0]), self._since(start)):
            is_checked = not series[0] or self._generator.random() < _CHECKED_SHARE
            self._turn(len(series[0]), series, checked=bool(is_checked))
            for told, candidate in zip(self.device_ms, self._candidates, strict=True):
                if candidate.device_ms is not None:
                    told.append(candidate.device_ms)
            if progress:
                progress(len(series[0]), self._settings.minimum_samples)
        return series

    def _turn(self, turn: int, series: list[list[float]], *, checked: bool) -> None:
        """Run all candidates once, in random order, on the same input."""
        index = turn % self._settings.inputs
        for position in self._generator.permutation(len(self._candidates)):
            series[position].append(self._time(self._candidates[position], index))
            # Outside the timed region, as everything but the run itself.
            if checked:
                self._checks[position](index)

    def _time(self, candidate: Candidate, index: int) -> float:
        # What ran before it has filled the caches with its own weights, and the more candidates there are the more so.
        # Deployed, a model runs after itself. On another input, so that no answer can be kept.
        candidate.feed((index + 1) % self._settings.inputs)
        candidate.run()
        candidate.feed(index)
        start = self._clock()
        candidate.run()
        elapsed = self._clock() - start
        # A coarse clock would make ratios infinite, and every speed-up a winner.
        if elapsed <= 0:
            raise WorkFailed("the clock did not advance during a run", place=candidate.name)
        return elapsed / _NANOSECONDS_PER_MS

    def _enough(self, count: int, seconds: float) -> bool:
        # Without these there is no median to report, however long it takes.
        if count < minimum_samples(0.5):
            return False
        wanted = count >= self._settings.minimum_samples and seconds >= self._settings.minimum_seconds
        return wanted or seconds >= self._settings.limit_seconds

    def _since(self, start: int) -> float:
        return (self._clock() - start) / _NANOSECONDS_PER_S


def _require_distinct(candidates: Sequence[Candidate]) -> None:
    names = [candidate.name for candidate in candidates]
    if not names:
        raise InvalidConfig("there is nothing to measure", advice="name at least one model")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidConfig(f"two candidates are called {', '.join(twice)}", advice="give each its own name")


@contextmanager
def _garbage_collector_paused() -> Iterator[None]:
    # A collection inside the timed region would be counted as the candidate's time. What there is goes first.
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
