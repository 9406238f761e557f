"""Time two ways of doing the same work against each other, in turns, and print their ratio with its interval."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from trunkline.bench.statistics import Estimate, paired_ratio, percentile_with_interval, verdict

Work = Callable[[], object]
Clock = Callable[[], int]
Series = list[float]


def paired(
    title: str,
    baseline: Work,
    other: Work,
    *,
    rounds: int = 15,
    warm_up: int = 2,
    clock: Clock = time.perf_counter_ns,
    seed: int = 0,
) -> Estimate:
    """Run both in every round, in random order; print and return the speed-up of ``other`` over ``baseline``.

    Args:
        title: What is compared.
        baseline: The way that exists without us.
        other: Our way.
        rounds: At least 11, which a median's interval at 99 % needs.
        warm_up: Rounds thrown away first.
        clock: Nanoseconds. ``time.process_time_ns`` ignores neighbours, but counts the work of all threads.
        seed: Of the order.
    """
    before, after = in_turns(baseline, other, rounds=rounds, warm_up=warm_up, clock=clock, seed=seed)
    speed_up = paired_ratio(after, before)
    print(line(title, before, after, speed_up))
    return speed_up


def in_turns(
    first: Work,
    second: Work,
    *,
    rounds: int,
    warm_up: int = 1,
    clock: Clock = time.perf_counter_ns,
    seed: int = 0,
) -> tuple[Series, Series]:
    """Run both in every round, in random order, and return their times in milliseconds, one a round."""
    generator = np.random.default_rng(seed)
    times: tuple[Series, Series] = ([], [])
    for _ in range(warm_up + rounds):
        for position in generator.permutation(2):
            times[position].append(milliseconds((first, second)[position], clock))
    return times[0][warm_up:], times[1][warm_up:]


def line(title: str, before: Series, after: Series, speed_up: Estimate) -> str:
    """Return one line of text for a comparison; times in milliseconds."""
    first, second = percentile_with_interval(before, 0.5), percentile_with_interval(after, 0.5)
    if first is None or second is None:
        raise ValueError("too few rounds for a median")
    says = verdict(paired_ratio(before, after))
    return (
        f"{title:<40} {first.value:10.3f} ms -> {second.value:10.3f} ms   "
        f"x{speed_up.value:.3f} [{speed_up.low:.3f}, {speed_up.high:.3f}] {says}, {speed_up.count} rounds"
    )


def milliseconds(work: Work, clock: Clock = time.perf_counter_ns) -> float:
    """Return how long ``work`` takes."""
    start = clock()
    work()
    return (clock() - start) / 1e6
