"""Order statistics against a brute-force binomial, and their promises by seeded simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trunkline.bench.settings import Settings
from trunkline.bench.statistics import (
    Estimate,
    binomial_cdf,
    interval_ranks,
    minimum_samples,
    paired_ratio,
    percentile_with_interval,
    verdict,
)

times = st.floats(min_value=1e-3, max_value=1e4)


@pytest.mark.golden
@pytest.mark.parametrize(("percentile", "count"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_minimum_sample_counts(percentile: float, count: int) -> None:
    assert minimum_samples(percentile) == count


@pytest.mark.parity
@pytest.mark.parametrize("percentile", [0.5, 0.75, 0.9, 0.99])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_minimum_samples_by_scipy(percentile: float, confidence: float) -> None:
    """minimum_samples is the smallest number that scipy finds."""
    count = minimum_samples(percentile, confidence)
    assert stats.binom.cdf(1, count, 1 - percentile) <= 1 - confidence
    assert stats.binom.cdf(1, count - 1, 1 - percentile) > 1 - confidence


@pytest.mark.parity
@pytest.mark.parametrize("count", [1, 7, 64, 1000, 20000])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.99])
def test_binomial_with_scipy(count: int, probability: float) -> None:
    expected = stats.binom.cdf(np.arange(count), count, probability)
    np.testing.assert_allclose(binomial_cdf(count, probability), expected, atol=1e-10)


@pytest.mark.parity
@pytest.mark.parametrize(("count", "percentile"), [(8, 0.5), (11, 0.5), (100, 0.5), (64, 0.9), (700, 0.9), (662, 0.99)])
def test_ranks_are_tightest_by_brute_force(count: int, percentile: float) -> None:
    side = 0.005
    below = stats.binom(count, percentile)
    low = max(rank for rank in range(1, count + 1) if below.cdf(rank - 1) <= side)
    high = min(rank for rank in range(1, count + 1) if below.sf(rank - 1) <= side)
    assert interval_ranks(count, percentile) == (low, high)


@pytest.mark.abuse
@pytest.mark.parametrize(("count", "percentile"), [(7, 0.5), (1, 0.5), (50, 0.9), (500, 0.99)])
def test_too_few_samples_have_no_interval(count: int, percentile: float) -> None:
    with pytest.raises(ValueError, match="do not enclose"):
        interval_ranks(count, percentile)


@pytest.mark.abuse
@pytest.mark.parametrize("percentile", [0.0, 0.1, 1.0, math.nan])
def test_percentile_out_of_range(percentile: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        minimum_samples(percentile)


@pytest.mark.properties
@pytest.mark.parametrize(("percentile", "count"), [(0.5, 11), (0.9, 64), (0.99, 662)])
def test_percentile_needs_its_minimum_samples(percentile: float, count: int) -> None:
    samples = np.arange(1.0, count + 1)
    assert percentile_with_interval(samples[1:], percentile) is None
    assert percentile_with_interval(samples, percentile) is not None


@pytest.mark.properties
@given(st.lists(times, min_size=11, max_size=200))
def test_interval_holds_value_and_scales(samples: list[float]) -> None:
    """The interval holds its value, and follows a change of unit."""
    found = percentile_with_interval(samples, 0.5)
    scaled = percentile_with_interval([2 * sample for sample in reversed(samples)], 0.5)
    assert found is not None and scaled is not None
    assert min(samples) <= found.low <= found.value <= found.high <= max(samples)
    assert found.value == pytest.approx(float(np.median(samples)))
    assert scaled.interval == (2 * found.low, 2 * found.high)


@pytest.mark.properties
@given(st.lists(st.tuples(times, times), min_size=11, max_size=60))
def test_swapped_ratio_is_the_reciprocal(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    forward, backward = paired_ratio(first, second), paired_ratio(second, first)
    assert backward.value == pytest.approx(1 / forward.value)
    assert backward.low == pytest.approx(1 / forward.high)


@pytest.mark.golden
def test_paired_ratio_ignores_what_hits_both() -> None:
    noise = np.random.default_rng(0).lognormal(0, 2, 15)
    ratio = paired_ratio(noise, 1.5 * noise)
    assert ratio.interval == pytest.approx((1.5, 1.5))
    assert ratio.count == 15


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("first", "second", "says"),
    [([1.0] * 11, [1.0] * 12, "paired"), ([1.0] * 10, [1.0] * 10, "fewer"), ([0.0] * 11, [1.0] * 11, "positive")],
)
def test_paired_ratio(first: list[float], second: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        paired_ratio(first, second)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (1.05, 1.1, "slower"),
        (0.8, 0.9, "faster"),
        (0.99, 1.01, "same"),
        (0.9, 1.1, "undecided"),
        (1.01, 1.1, "undecided"),
        (0.9, 0.99, "undecided"),
    ],
)
def test_verdicts(low: float, high: float, says: str) -> None:
    assert verdict(Estimate((low + high) / 2, low, high, 64)) == says


@pytest.mark.properties
@pytest.mark.parametrize(("count", "percentile"), [(11, 0.5), (100, 0.5), (200, 0.9), (1000, 0.99)])
def test_coverage_of_10000_simulations(count: int, percentile: float) -> None:
    generator = np.random.default_rng(1)
    low, high = interval_ranks(count, percentile)
    ordered = np.sort(generator.lognormal(0, 1, (10_000, count)), axis=1)
    truth = stats.lognorm.ppf(percentile, s=1)
    covered = np.mean((ordered[:, low - 1] <= truth) & (truth <= ordered[:, high - 1]))
    exact = stats.binom.cdf(high - 1, count, percentile) - stats.binom.cdf(low - 1, count, percentile)
    assert covered >= 0.985
    assert covered == pytest.approx(exact, abs=0.004)


def _rounds(generator: np.random.Generator, slower: float) -> tuple[np.ndarray, np.ndarray]:
    """A noisy machine by default settings: common slow-downs, own noise, 5 % of samples hit by a neighbour."""
    count = Settings().minimum_samples
    common = generator.lognormal(0, 0.3, count)
    own = generator.lognormal(0, 0.08, (2, count)) * np.where(generator.random((2, count)) < 0.05, 10, 1)
    return common * own[0], slower * common * own[1]


@pytest.mark.properties
def test_same_model_is_rarely_called_different() -> None:
    generator = np.random.default_rng(2)
    ratios = [paired_ratio(*_rounds(generator, 1.0)) for _ in range(1000)]
    assert sum(verdict(ratio, margin=0.0) in ("slower", "faster") for ratio in ratios) <= 15
    assert sum(verdict(ratio) in ("slower", "faster") for ratio in ratios) <= 5


@pytest.mark.properties
def test_ten_percent_slower_is_found() -> None:
    generator = np.random.default_rng(3)
    verdicts = [verdict(paired_ratio(*_rounds(generator, 1.1))) for _ in range(500)]
    assert verdicts.count("slower") >= 0.95 * 500
    assert verdicts.count("faster") == 0
