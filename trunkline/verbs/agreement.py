"""How well estimates and measurements agree: correlations with how many pairs there were, and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import ndtri
from scipy.stats import rankdata

from trunkline.verbs.seed_statistics import CONFIDENCE

FEWEST = 4
"""With fewer pairs a correlation has no interval."""
SMALLEST = 1e-9
"""Less than this is a rounding error of what is 0."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """A correlation and its interval at 95 %.

    Attributes:
        value: Between -1 and 1; NaN where one side never changes.
        low: Lower end; NaN with fewer than four pairs.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return plain data."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class Agreement:
    """What is correlated, both ways.

    Attributes:
        count: Number of pairs.
        pearson: Of the values.
        spearman: Of their ranks; what TreeMTL's paper calls Pearson's gamma of two rankings.
    """

    count: int
    pearson: Correlation
    spearman: Correlation

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form."""
        return {"n": self.count, "pearson": self.pearson.to_json(), "spearman": self.spearman.to_json()}


def agreement_of(estimated: Sequence[float], measured: Sequence[float]) -> Agreement:
    """Return how well estimates and measurements agree.

    Intervals are Fisher's, by z = artanh r with a standard error of 1 / √(n - 3); of ranks √((1 + r²/2) / (n - 3)),
    after Bonett and Wright (2000).

    >>> found = agreement_of([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 9.0])
    >>> f"{found.spearman.value:.2f} of {found.count}"
    '0.80 of 5'
    """
    pearson = _pearson(estimated, measured)
    ranks = _pearson(list(rankdata(estimated)), list(rankdata(measured)))
    count = len(estimated)
    return Agreement(count, _interval(pearson, count, 1.0), _interval(ranks, count, 1 + ranks**2 / 2))


def agreement_at_equal(estimated: Sequence[float], measured: Sequence[float], given: Sequence[float]) -> Correlation:
    """Return the partial correlation of ranks: how well both agree beyond what ``given`` explains.

    Its interval is that of ranks with one pair less: a partial correlation loses a degree of freedom. NaN where one of
    the two follows from ``given`` alone.
    """
    ranks = [list(rankdata(values)) for values in (estimated, measured, given)]
    both, ours, theirs = _pearson(ranks[0], ranks[1]), _pearson(ranks[0], ranks[2]), _pearson(ranks[1], ranks[2])
    left = (1 - ours**2) * (1 - theirs**2)
    if math.isnan(left) or left < SMALLEST:
        return Correlation(math.nan, math.nan, math.nan)
    value = max(-1.0, min(1.0, (both - ours * theirs) / math.sqrt(left)))
    return _interval(value, len(estimated) - 1, 1 + value**2 / 2)


def _pearson(one: Sequence[float], other: Sequence[float]) -> float:
    count = len(one)
    if count < 2:
        return math.nan
    means = [math.fsum(values) / count for values in (one, other)]
    first, second = [value - means[0] for value in one], [value - means[1] for value in other]
    scale = math.sqrt(math.fsum(value**2 for value in first) * math.fsum(value**2 for value in second))
    if not scale:
        return math.nan
    value = math.fsum(a * b for a, b in zip(first, second, strict=True)) / scale
    return max(-1.0, min(1.0, value))


def _interval(value: float, count: int, variance: float) -> Correlation:
    if math.isnan(value) or count < FEWEST:
        return Correlation(value, math.nan, math.nan)
    if abs(value) == 1:
        return Correlation(value, value, value)
    margin = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(variance / (count - 3))
    middle = math.atanh(value)
    return Correlation(value, math.tanh(middle - margin), math.tanh(middle + margin))
