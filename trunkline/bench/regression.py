"""Whether a model is slower than it was, though the two measurements lie days apart.

Each measurement has its median with an interval. They are independent, so the interval of their ratio follows from the
two by squares, side by side, in logarithms: MOVER, the method of variance estimates recovery (Zou and Donner,
Statistics in Medicine 27, 2008; Newcombe 1998 before them). It needs no samples of the old one, and takes medians whose
intervals reach further up than down as they are.

An interval knows nothing of what changes between two days: another neighbour, another place in memory. A margin is for
that. Where both measurements have the same baseline, a model that took turns with the others, ratios to it are compared
instead of times: then what slows the whole machine down cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from trunkline.bench.statistics import Estimate, Verdict, verdict

DEFAULT_MARGIN_PERCENT = 5.0
"""Medians of one model on one quiet machine differ by a few percent from day to day."""

Compared = Literal["latency", "ratio to baseline"]


@dataclass(frozen=True, slots=True)
class Change:
    """One model now, against what it was.

    Attributes:
        name: Name of the model, the same then and now.
        runtime: What ran it.
        batch: Images a run.
        old_ms: Its median then.
        new_ms: Its median now.
        ratio: Now divided by then, of what was compared; above 1 is slower.
        ci: Interval of ``ratio`` at 99 %.
        compared: ``latency``, or ``ratio to baseline``.
        margin: What ``ratio`` may differ from 1 by, as a fraction.
        verdict: What the interval proves beyond the margin; ``undecided`` too where a measurement was not steady.
        reason: Which was not steady, and why; empty where all were.
        baseline: Whether the others' ratios are to this one: its own change is the machine's, and proves nothing.
    """

    name: str
    runtime: str
    batch: int
    old_ms: float
    new_ms: float
    ratio: float
    ci: tuple[float, float]
    compared: Compared
    margin: float
    verdict: Verdict
    reason: str = ""
    baseline: bool = False

    @property
    def regressed(self) -> bool:
        """Whether it is proved to be slower."""
        return self.verdict == "slower" and not self.baseline

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "runtime": self.runtime,
            "batch": self.batch,
            "old_ms": self.old_ms,
            "new_ms": self.new_ms,
            "ratio": self.ratio,
            "ci": list(self.ci),
            "compared": self.compared,
            "margin_percent": 100 * self.margin,
            "verdict": self.verdict,
            "reason": self.reason,
            "baseline": self.baseline,
        }


def ratio_of_independent(old: Estimate, new: Estimate) -> Estimate:
    """Return new divided by old with its interval, for two independent estimates of positive quantities.

    Args:
        old: With an interval at some confidence.
        new: With an interval at the same confidence, which is also that of the result.

    Raises:
        ValueError: A number is not positive, or a value lies outside its interval.

    >>> ratio_of_independent(Estimate(10.0, 9.9, 10.1, 100), Estimate(12.0, 12.0, 12.0, 100)).value
    1.2
    """
    for each in (old, new):
        if not 0 < each.low <= each.value <= each.high < math.inf:
            raise ValueError(f"{each.value:g} with the interval {each.low:g} to {each.high:g} is no positive estimate")
    value = new.value / old.value
    # What could make the ratio smaller: the new one is below its estimate, the old one above.
    below = math.hypot(math.log(new.value / new.low), math.log(old.high / old.value))
    above = math.hypot(math.log(new.high / new.value), math.log(old.value / old.low))
    return Estimate(value, value * math.exp(-below), value * math.exp(above), min(old.count, new.count))


def judged(ratio: Estimate, margin: float, reason: str) -> Verdict:
    """Say what the interval of a ratio proves beyond a margin; nothing where a measurement was not steady.

    Args:
        ratio: New divided by old.
        margin: As a fraction: 0.05 for 5 %.
        reason: Why a measurement was not steady; empty where all were.
    """
    return "undecided" if reason else verdict(ratio, margin)
