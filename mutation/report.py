"""What mutation testing found: a table of modules, and the faults that no test noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

KILLED = frozenset({"killed", "timeout", "segfault", "suspicious"})
"""Verdicts of mutants that made the tests end otherwise than they do without them."""
UNNOTICED = frozenset({"survived", "no tests"})


@dataclass(frozen=True, slots=True)
class Survivor:
    """A fault that no test noticed.

    Attributes:
        name: The mutant's.
        diff: What it changes.
        reached: Whether any of the tests reaches the function.
        equivalent: Why no test could notice it; empty where one could.
    """

    name: str
    diff: str
    reached: bool
    equivalent: str = ""


@dataclass(frozen=True, slots=True)
class ModuleReport:
    """What became of a module's sample.

    Attributes:
        module: Its path.
        mutants: How many mutants it has altogether.
        sample: How many were to be tried.
        verdicts: How many came to what end.
        survivors: Those that lived.
        failed: Why it could not be tried; empty where it could.
    """

    module: str
    mutants: int
    sample: int
    verdicts: dict[str, int]
    survivors: tuple[Survivor, ...] = field(default_factory=tuple)
    failed: str = ""

    @property
    def killed(self) -> int:
        """How many were noticed, those that never ended among them."""
        return sum(count for verdict, count in self.verdicts.items() if verdict in KILLED)

    @property
    def equivalent(self) -> int:
        """How many of the survivors change nothing."""
        return sum(bool(survivor.equivalent) for survivor in self.survivors)

    @property
    def survived(self) -> int:
        """How many a test could have noticed, and none did."""
        return len(self.survivors) - self.equivalent

    @property
    def open(self) -> int:
        """How many of the sample have not been tried yet."""
        return self.sample - sum(self.verdicts.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "module": self.module,
            "mutants": self.mutants,
            "sample": self.sample,
            "open": self.open,
            "killed": self.killed,
            "timed_out": self.verdicts.get("timeout", 0),
            "survived": self.survived,
            "equivalent": self.equivalent,
            "share_killed": share(self.killed, self.survived),
            "failed": self.failed,
            "survivors": [
                {"name": s.name, "diff": s.diff, "reached": s.reached, "equivalent": s.equivalent}
                for s in self.survivors
            ],
        }


def share(killed: int, survived: int) -> float | None:
    """Return the share of noticed faults among those that could be noticed; ``None`` where none was tried."""
    return killed / (killed + survived) if killed + survived else None


def table(reports: Sequence[ModuleReport]) -> str:
    """Return the modules as a Markdown table, the sum last."""
    head = "| module | mutants | sample | not yet tried | killed | timed out | survived | equivalent | share killed |"
    rule = "| --- |" + " ---: |" * 8
    sums = [sum(column) for column in zip(*map(_counts, reports), strict=True)] if reports else [0] * 7
    rows = [_row(report.module, _counts(report)) for report in reports]
    return "\n".join([head, rule, *rows, _row("all", sums)])


def survivors(reports: Sequence[ModuleReport]) -> str:
    """Return every fault that lived though a test could have noticed it, with its diff."""
    found = [s for report in reports for s in report.survivors if not s.equivalent]
    notes = [f"{s.name}{'' if s.reached else ' (no test reaches it)'}\n{s.diff.strip()}" for s in found]
    return "\n\n".join(notes)


def _counts(report: ModuleReport) -> list[int]:
    timed_out = report.verdicts.get("timeout", 0)
    whole = [report.mutants, report.sample, report.open]
    return [*whole, report.killed, timed_out, report.survived, report.equivalent]


def _row(name: str, counts: Sequence[int]) -> str:
    killed = share(counts[3], counts[5])
    cells = [name, *map(str, counts), "–" if killed is None else f"{100 * killed:.0f} %"]
    return f"| {' | '.join(cells)} |"
