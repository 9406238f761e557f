"""How often the gate is wrong: seeded simulations of two measurements of one model, days apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trunkline.bench.regression import judged, ratio_of_independent
from trunkline.bench.statistics import Estimate, paired_ratio, percentile_with_interval

ROUNDS = 100
MARGIN = 0.05


def times(generator: np.random.Generator, median: float) -> np.ndarray:
    """Of runs that vary by 8 %, with a neighbour in one of twenty."""
    noise = np.exp(0.08 * generator.standard_normal(ROUNDS))
    return median * noise * np.where(generator.random(ROUNDS) < 0.05, 2.0, 1.0)


def median_of(samples: np.ndarray) -> Estimate:
    found = percentile_with_interval(samples, 0.5)
    assert found is not None
    return found


def verdicts(slow_down: float, repetitions: int, *, margin: float = MARGIN) -> dict[str, int]:
    """How often each verdict was found for medians that differ by this factor."""
    generator, found = np.random.default_rng(0), {"slower": 0, "faster": 0, "same": 0, "undecided": 0}
    for _ in range(repetitions):
        old, new = median_of(times(generator, 10.0)), median_of(times(generator, 10.0 * slow_down))
        found[judged(ratio_of_independent(old, new), margin, "")] += 1
    return found


@pytest.mark.properties
@pytest.mark.parametrize(("slow_down", "margin"), [(1.0, MARGIN), (1.0, 0.0), (1.05, MARGIN)])
def test_equal_is_hardly_ever_slower(slow_down: float, margin: float) -> None:
    """In at most 1 %, also without a margin, and where the difference is just the margin."""
    assert verdicts(slow_down, 1000, margin=margin)["slower"] <= 10


@pytest.mark.properties
def test_a_slow_down_beyond_the_margin_is_found() -> None:
    """15 %: in at least 95 %; and the other way round it is a gain."""
    assert verdicts(1.15, 300)["slower"] >= 285
    assert verdicts(1 / 1.15, 300)["faster"] >= 285


@pytest.mark.properties
def test_the_interval_holds_the_true_ratio() -> None:
    """As often as the intervals that it is made of: 99 %, of skewed times too."""
    generator, held = np.random.default_rng(1), 0
    for _ in range(1000):
        old, new = (median_of(10.0 + generator.exponential(2.0, ROUNDS)) for _ in range(2))
        ratio = ratio_of_independent(old, new)
        held += ratio.low <= 1.0 <= ratio.high
    assert held >= 980


@pytest.mark.properties
def test_ratios_of_a_slower_machine() -> None:
    """On one that is a fifth slower, every time is; no ratio is, and a model that became slower still shows."""
    generator, found = np.random.default_rng(2), {"time": 0, "ratio": 0, "slowed": 0}
    for _ in range(200):
        old_first, old = times(generator, 20.0), times(generator, 10.0)
        machine = np.exp(0.1 * generator.standard_normal(ROUNDS)) * 1.2
        new_first, new = machine * times(generator, 20.0), machine * times(generator, 10.0)
        then = paired_ratio(old_first, old)
        found["time"] += judged(ratio_of_independent(median_of(old), median_of(new)), MARGIN, "") == "slower"
        for what, factor in (("ratio", 1.0), ("slowed", 1.2)):
            now = paired_ratio(new_first, factor * new)
            found[what] += judged(ratio_of_independent(then, now), MARGIN, "") == "slower"
    assert found["time"] > 150 and found["ratio"] <= 2 and found["slowed"] >= 190


@pytest.mark.golden
def test_interval_of_a_ratio_by_hand() -> None:
    old, new = Estimate(10.0, 9.0, 12.0, 50), Estimate(20.0, 19.0, 22.0, 40)
    found = ratio_of_independent(old, new)
    assert found.value == 2.0 and found.count == 40
    assert math.log(found.value / found.low) == pytest.approx(math.hypot(math.log(20 / 19), math.log(12 / 10)))
    assert math.log(found.high / found.value) == pytest.approx(math.hypot(math.log(22 / 20), math.log(10 / 9)))
    back = ratio_of_independent(new, old)
    assert (back.low, back.high) == pytest.approx((1 / found.high, 1 / found.low))


@pytest.mark.golden
def test_what_was_not_steady_decides_nothing() -> None:
    ratio = Estimate(2.0, 1.9, 2.1, 50)
    assert judged(ratio, MARGIN, "") == "slower"
    assert judged(ratio, MARGIN, "then: a neighbour was loud") == "undecided"
    assert judged(Estimate(1.06, 1.04, 1.08, 50), MARGIN, "") == "undecided"
    assert judged(Estimate(1.01, 0.98, 1.04, 50), MARGIN, "") == "same"


@pytest.mark.abuse
@pytest.mark.parametrize("wrong", [(0.0, 0.0, 1.0), (2.0, 2.1, 2.2), (1.0, 0.5, math.inf), (math.nan, 1.0, 2.0)])
def test_impossible_estimates(wrong: tuple[float, float, float]) -> None:
    right = Estimate(1.0, 0.9, 1.1, 20)
    for pair in ((Estimate(*wrong, 20), right), (right, Estimate(*wrong, 20))):
        with pytest.raises(ValueError, match="no positive estimate"):
            ratio_of_independent(*pair)
