"""What a benchmark returns, as a row of its table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench_suite.common import Series
from trunkline.bench.stability import instability
from trunkline.bench.statistics import minimum_samples, paired_ratio, percentile_with_interval
from trunkline.report.tables import UNSTABLE

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio has to reach.

    Attributes:
        value: The bound.
        at_most: Whether it is an upper bound.
    """

    value: float
    at_most: bool = False

    def met(self, ratio: float) -> bool:
        """Whether ``ratio`` is on the right side."""
        return ratio <= self.value if self.at_most else ratio >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a benchmark.

    Attributes:
        name: What was measured.
        ours: Our value.
        theirs: The alternative's, where there is one.
        unit: Of both.
        ratio: What the target is about; ``theirs / ours`` unless the name says otherwise.
        interval: Of the ratio at 99 %; ``None`` where rounds are too few, or nothing is random.
        target: What the ratio should be.
        unstable: Why one of the series is not steady; empty if both are, or if rounds are too few to tell.
    """

    name: str
    ours: float
    theirs: float | None
    unit: str
    ratio: float | None = None
    interval: Interval | None = None
    target: Target | None = None
    unstable: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; ``None`` where there is none."""
        return None if self.target is None or self.ratio is None else self.target.met(self.ratio)

    @property
    def verdict(self) -> str:
        """``met`` or ``MISSED``, with a reservation where the interval holds the target."""
        if self.target is None or self.met is None:
            return ""
        word = "met" if self.met else "MISSED"
        within = self.interval is not None and self.interval[0] < self.target.value < self.interval[1]
        return f"{word}, within noise" if within else word

    def to_json(self, *, judged: bool = True) -> dict[str, Any]:
        """Return plain data; ``met`` is ``None`` too where the run is not to be ``judged``."""
        return {
            "name": self.name,
            "ours": self.ours,
            "theirs": self.theirs,
            "unit": self.unit,
            "ratio": self.ratio,
            "interval": None if self.interval is None else list(self.interval),
            "target": None if self.target is None else str(self.target),
            "met": self.met if judged else None,
            "unstable": self.unstable,
        }


def speed_up(name: str, ours: Series, theirs: Series, *, target: Target | None = None, unit: str = "ms") -> Result:
    """Return the result of times that were taken in turns: the median over rounds of theirs / ours."""
    ratio, interval = _ratio(ours, theirs)
    reason = _unstable(ours, theirs, unit)
    return Result(name, float(np.median(ours)), float(np.median(theirs)), unit, ratio, interval, target, reason)


def over(name: str, ours: Series, theirs: Series, *, target: Target | None = None, unit: str = "ms") -> Result:
    """Return the same with the ratio upside down, ours / theirs, for times next to a bound."""
    ratio, interval = _ratio(theirs, ours)
    reason = _unstable(ours, theirs, unit)
    return Result(name, float(np.median(ours)), float(np.median(theirs)), unit, ratio, interval, target, reason)


def _unstable(ours: Series, theirs: Series, unit: str) -> str:
    """Say which side is not steady, and why; 11 rounds are needed to tell."""
    if min(len(ours), len(theirs)) < minimum_samples(0.5):
        return ""
    found = {"ours": instability(ours, unit=unit), "theirs": instability(theirs, unit=unit)}
    return "; ".join(f"{side}: {reason}" for side, reason in found.items() if reason)


def _ratio(first: Series, second: Series) -> tuple[float, Interval | None]:
    """Return the median over rounds of second / first, and its interval where rounds are enough for one."""
    if len(first) < minimum_samples(0.5):
        return float(np.exp(np.median(np.log(second) - np.log(first)))), None
    found = paired_ratio(first, second)
    return found.value, found.interval


def against(name: str, ours: Series, reference: float, unit: str, *, target: Target | None = None) -> Result:
    """Return the result of a series next to a fixed number: reference / median."""
    middle = float(np.median(ours))
    found = percentile_with_interval(ours, 0.5)
    interval = None if found is None else (reference / found.high, reference / found.low)
    reason = instability(ours, unit=unit) if found is not None else ""
    return Result(name, middle, reference, unit, reference / middle, interval, target, reason)


def table(results: Sequence[Result], *, judged: bool = True) -> str:
    """Return the results as lines of text under a heading."""
    heading = ("", "ours", "theirs", "", "ratio", "target", "")
    rows: list[tuple[str, ...]] = [heading, *(_row(result, judged) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    notes = [
        f"{UNSTABLE} {result.name.strip()} is unstable: {result.unstable}" for result in results if result.unstable
    ]
    return "\n".join([*(_line(row, widths) for row in rows), *notes])


def _row(result: Result, judged: bool) -> tuple[str, ...]:
    ratio = "" if result.ratio is None else f"{result.ratio:.3f}"
    if result.interval is not None:
        ratio += f" [{result.interval[0]:.3f}, {result.interval[1]:.3f}]"
    ratio += f" {UNSTABLE}" if result.unstable else ""
    target = "" if result.target is None else str(result.target)
    verdict = result.verdict if judged else ""
    return result.name, _number(result.ours), _number(result.theirs), result.unit, ratio, target, verdict


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    name, ours, theirs, *rest = row
    cells = [name.ljust(widths[0]), ours.rjust(widths[1]), theirs.rjust(widths[2])]
    cells += [text.ljust(width) for text, width in zip(rest, widths[3:], strict=True)]
    return "  ".join(cells).rstrip()
