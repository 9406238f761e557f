"""Is a model better than what is made by hand? Its Δ against a line through hand-made models, at equal MACs.

Models of different cost cannot be compared by Δ alone. So those that need no search, such as the cuts from "nothing is
shared" to "everything is shared", are points of Δ over MACs, and a line through them says what their kind gives at any
cost between two of them. A model is compared with that line where it stands itself, seed by seed: both were trained
with the same seed, so what a seed does to both is no difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """A trained model.

    Attributes:
        macs: What it executes.
        delta: Its mean Δ in percent.
    """

    macs: float
    delta: float


def line_at(points: Sequence[Point], macs: float) -> float:
    """Return Δ of the line through ``points`` at ``macs``; NaN outside them.

    Between two points it is straight; of several with equal MACs the mean counts.

    >>> line_at([Point(10, -4.0), Point(20, 0.0)], 15)
    -2.0
    """
    costs = sorted({point.macs for point in points})
    if not costs or not costs[0] <= macs <= costs[-1]:
        return math.nan
    above = next(cost for cost in costs if cost >= macs)
    if above == macs:
        return _mean_at(points, macs)
    below = max(cost for cost in costs if cost < macs)
    part = (macs - below) / (above - below)
    return (1 - part) * _mean_at(points, below) + part * _mean_at(points, above)


def _mean_at(points: Sequence[Point], macs: float) -> float:
    found = [point.delta for point in points if point.macs == macs]
    return math.fsum(found) / len(found)
