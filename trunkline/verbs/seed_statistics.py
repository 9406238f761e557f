"""What several seeds say together: a mean, and the interval that it is known to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds.

    Attributes:
        value: The mean; NaN where a seed has no value.
        low: Lower end of its interval at 95 %; NaN where one seed alone says nothing about others.
        high: Upper end.
        least: The smallest value.
        most: The largest value.
        seeds: How many values there are.
    """

    value: float
    low: float
    high: float
    least: float
    most: float
    seeds: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        ends = {"low": self.low, "high": self.high, "least": self.least, "most": self.most}
        return {"mean": self.value, **ends, "seeds": self.seeds}


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean with Student's interval: x̄ ± t · s / √n, t the quantile of n - 1 degrees of freedom.

    Raises:
        ValueError: There is no value.

    >>> found = mean_of([1.0, 2.0, 3.0])
    >>> f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    '2.00 [-0.48, 4.48]'
    """
    count = len(values)
    if count == 0:
        raise ValueError("there is no value to take the mean of")
    value, least, most = math.fsum(values) / count, min(values), max(values)
    if count == 1:
        return Mean(value, math.nan, math.nan, least, most, count)
    variance = math.fsum((each - value) ** 2 for each in values) / (count - 1)
    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    margin = quantile * math.sqrt(variance / count)
    return Mean(value, value - margin, value + margin, least, most, count)
