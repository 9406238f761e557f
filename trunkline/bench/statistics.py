"""What samples of a latency allow one to say: percentiles with intervals, paired ratios, and nothing more.

Latencies are neither normal nor free of outliers, so everything here rests on order statistics. Of n
independent samples the number B that lie below the p-quantile is Binomial(n, p), whatever the distribution;
hence the l-th and u-th smallest samples enclose the quantile with probability P(l <= B < u). For the median
of per-round ratios this is the inverted sign test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.99
MARGIN = 0.02
"""Two medians nearer than this are the same for every practical purpose (memory placement alone moves them)."""

Floats = npt.NDArray[np.float64]
Verdict = Literal["slower", "faster", "same", "undecided"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated value, and the interval that encloses the true one with the stated confidence.

    Attributes:
        value: The point estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        count: Number of samples, or of rounds for a paired ratio.
    """

    value: float
    low: float
    high: float
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high

    @property
    def relative_width(self) -> float:
        """Width of the interval divided by the value."""
        return (self.high - self.low) / self.value


@lru_cache(maxsize=64)
def minimum_samples(percentile: float, confidence: float = CONFIDENCE) -> int:
    """Return how many samples a percentile needs before it may be reported at all.

    It is the smallest n at which one sample above the percentile is improbable unless the percentile really is
    below the largest-but-one sample: P(Binomial(n, 1 - p) <= 1) <= 1 - confidence. This is the early-stopping
    rule of MLPerf Inference with one over-latency query; at 99 % it gives 11, 64 and 662 for p50, p90 and p99.

    Args:
        percentile: As a fraction in [0.5, 1).
        confidence: As a fraction in (0, 1).

    >>> [minimum_samples(percentile) for percentile in (0.5, 0.9, 0.99)]
    [11, 64, 662]
    """
    _check_fraction(percentile, confidence)
    count = 2
    while _at_most_one(count, 1 - percentile) > 1 - confidence:
        count += 1
    return count


@lru_cache(maxsize=4096)
def interval_ranks(count: int, percentile: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Return the 1-based ranks (l, u) of the order statistics that enclose a percentile.

    Each side errs with probability at most (1 - confidence) / 2, so the coverage is never below ``confidence``.

    Raises:
        ValueError: Even the smallest and largest of ``count`` samples do not enclose it that surely.
    """
    _check_fraction(percentile, confidence)
    below = binomial_cdf(count, percentile)
    side = (1 - confidence) / 2
    # l is the largest rank with P(B < l) <= side, u the smallest with P(B >= u) <= side (see the module's text).
    low = int(np.searchsorted(below, side, side="right"))
    high = int(np.searchsorted(below, 1 - side, side="left")) + 1
    if low < 1 or high > count:
        raise ValueError(f"{count} samples do not enclose the {percentile:g} quantile at confidence {confidence:g}")
    return low, high


def percentile_with_interval(
    samples: Sequence[float] | Floats, percentile: float, confidence: float = CONFIDENCE
) -> Estimate | None:
    """Return a percentile with its interval, or ``None`` below :func:`minimum_samples`.

    Args:
        samples: Independent samples of one quantity, in any order and unit.
        percentile: As a fraction in [0.5, 1).
        confidence: Of the two-sided interval.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    if len(ordered) < minimum_samples(percentile, confidence):
        return None
    low, high = interval_ranks(len(ordered), percentile, confidence)
    # Of the usual estimates this one has hardly any bias in the median, whatever the distribution (Hyndman & Fan 1996).
    value = float(np.quantile(ordered, percentile, method="median_unbiased"))
    return Estimate(value, float(ordered[low - 1]), float(ordered[high - 1]), len(ordered))


def paired_ratio(
    first: Sequence[float] | Floats, second: Sequence[float] | Floats, confidence: float = CONFIDENCE
) -> Estimate:
    """Return the median over rounds of second / first, with its interval.

    What disturbs a whole round (a neighbour, a clock step) cancels in its ratio. The median is taken of the
    logarithms, so that swapping the two gives exactly the reciprocal.

    Args:
        first: Times of the baseline, one a round, positive.
        second: Times of the other, same rounds, same unit.
        confidence: Of the two-sided interval.

    Raises:
        ValueError: The lengths differ, a time is not positive, or there are fewer than 11 rounds (at 99 %).

    >>> first = [10.0, 10.2, 9.9, 15.0, 10.1, 10.0, 10.3, 9.8, 10.0, 10.2, 10.1, 10.0]
    >>> ratio = paired_ratio(first, [time / 2 for time in first])
    >>> round(ratio.value, 6), verdict(ratio)
    (0.5, 'faster')
    """
    baseline, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if baseline.shape != other.shape:
        raise ValueError(f"{len(baseline)} and {len(other)} rounds cannot be paired")
    if not (np.all(baseline > 0) and np.all(other > 0)):
        raise ValueError("times must be positive")
    logs = percentile_with_interval(np.log(other) - np.log(baseline), 0.5, confidence)
    if logs is None:
        raise ValueError(f"{len(baseline)} rounds are fewer than {minimum_samples(0.5, confidence)}")
    return Estimate(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high), logs.count)


def verdict(ratio: Estimate, margin: float = MARGIN) -> Verdict:
    """Say what a ratio's interval proves: a difference beyond ``margin``, its absence, or neither.

    Args:
        ratio: Other over baseline, from :func:`paired_ratio`.
        margin: 0.02 means that 1/1.02 … 1.02 counts as the same.
    """
    # 1 / (1 + margin), not 1 - margin: swapping the two candidates must swap the verdict.
    if ratio.low > 1 + margin:
        return "slower"
    if ratio.high < 1 / (1 + margin):
        return "faster"
    if ratio.low >= 1 / (1 + margin) and ratio.high <= 1 + margin:
        return "same"
    return "undecided"


def binomial_cdf(count: int, probability: float) -> Floats:
    """Return P(Binomial(count, probability) <= k) for k = 0 … count - 1; float64 ``[count]``."""
    k = np.arange(count + 1)
    # In logarithms: the binomial coefficients of some thousand samples overflow.
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    log_choose = log_factorial[count] - log_factorial[k] - log_factorial[count - k]
    mass = np.exp(log_choose + k * math.log(probability) + (count - k) * math.log1p(-probability))
    return np.asarray(np.cumsum(mass)[:count], dtype=np.float64)


def _at_most_one(count: int, probability: float) -> float:
    none = (1 - probability) ** count
    return none + count * probability * (1 - probability) ** (count - 1)


def _check_fraction(percentile: float, confidence: float) -> None:
    if not 0.5 <= percentile < 1:
        raise ValueError(f"percentile {percentile:g} is outside [0.5, 1)")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence:g} is outside (0, 1)")
