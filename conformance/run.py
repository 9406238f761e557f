"""Run cases at opsets and count what comes of them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import onnx

from conformance.cases import Case
from conformance.judge import is_valid
from conformance.ours import Kind, Outcome, attempt

OWN = "own"
NEWEST = onnx.defs.onnx_opset_version()
COLUMNS: tuple[str | int, ...] = (OWN, 9, 13, 17, 18, 20, 21, 22, NEWEST)
"""Where cases are tried: at the opset each was generated for, and at these wherever the node means the same."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One case at one opset, and what came of it."""

    case: Case
    column: str | int
    opset: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Tally:
    """Trials counted by column, and the ones that did not pass."""

    counts: dict[str | int, Counter[Kind]] = field(default_factory=dict)
    failed: list[Trial] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Count one trial."""
        self.counts.setdefault(trial.column, Counter())[trial.outcome.kind] += 1
        if trial.outcome.kind != "pass":
            self.failed.append(trial)

    def passed(self, column: str | int) -> int:
        """Return how many trials of a column passed."""
        return self.counts.get(column, Counter())["pass"]

    def total(self, column: str | int) -> int:
        """Return how many trials a column has."""
        return self.counts.get(column, Counter()).total()


def trials(cases: Iterable[Case], columns: Sequence[str | int] = COLUMNS) -> Iterator[Trial]:
    """Yield each case at each of these opsets at which it is valid."""
    for case in cases:
        for column in columns:
            opset = case.opset if column == OWN else int(column)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NaN and overflow are part of some cases
                if is_valid(case, opset):
                    yield Trial(case, column, opset, attempt(case, opset))
