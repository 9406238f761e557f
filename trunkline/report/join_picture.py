"""Pictures of the joins between columns: which column reads what of which, and, where it is a number, how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline.report.style import (
    SHARED,
    SKIPPED,
    bare,
    beside,
    entitle,
    figure,
    height_of_names,
    name_units,
    task_colour,
    width_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MANY = 5
"""From so many columns on, threads of all to all cannot be followed."""
_BEHIND = 0.45
"""How far behind its site a join is drawn, in units: what it reads is then to be seen."""


@dataclass(frozen=True, slots=True)
class Row:
    """A horizontal line of the picture.

    Attributes:
        label: What stands beside it.
        colour: Of its line.
        start: Where its line begins, in units: 0 for a column, behind the first join for what stands beside one.
        end: Where it ends.
    """

    label: str
    colour: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A join: how many units come before it, and its row."""

    x: float
    y: int


@dataclass(frozen=True, slots=True)
class Thread:
    """What a join reads of a column or of another join.

    Attributes:
        start: Where the value is: x, y.
        end: The join: x, y.
        colour: That of the row it comes from.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    colour: str


@dataclass(frozen=True, slots=True)
class Wiring:
    """What is drawn of a plan with joins.

    Attributes:
        rows: From above.
        marks: The joins.
        threads: What they read.
        exchanges: Where each of many columns reads all of them: how many units come before. A band stands for the
            threads, of which nobody could follow one.
    """

    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]
    threads: tuple[Thread, ...]
    exchanges: tuple[float, ...] = ()


def wiring_of(plan: Mapping[str, Any], sites: Mapping[str, float]) -> Wiring:
    """Return what is drawn of the joins in a plan's JSON; reads that a search turned off are not there.

    Args:
        plan: The plan.
        sites: How many units come before each value at which a join stands or reads.
    """
    return _Drawing(plan, sites).wiring()


def draw_joins(plan: Mapping[str, Any], sites: Mapping[str, float], path: Path) -> None:
    """Draw columns side by side, the image left and the heads right, and the joins between them."""
    units, wiring = list(plan["units"]), wiring_of(plan, sites)
    with figure(width_of(len(units)), 0.5 + height_of_names(units) + 0.5 * len(wiring.rows), path) as drawn:
        axes = drawn.add_subplot()
        for y, row in enumerate(wiring.rows):
            axes.plot([row.start, row.end], [y, y], color=row.colour, linewidth=2.4, zorder=1)
            beside(axes, row.label, (0, y), -8)
        for x in wiring.exchanges:
            axes.fill_betweenx([0, len(wiring.rows) - 1], x, x + _BEHIND, color=SKIPPED, linewidth=0, zorder=0)
        for thread in wiring.threads:
            _connect(axes, thread)
        for mark in wiring.marks:
            colour = wiring.rows[mark.y].colour
            axes.plot([mark.x], [mark.y], "o", color="white", markeredgecolor=colour, markeredgewidth=1.6, markersize=7)
        axes.set_xlim(-0.1, max(row.end for row in wiring.rows) + 0.2)
        axes.set_ylim(len(wiring.rows) - 0.5, -0.5)
        axes.set_yticks([])
        name_units(axes, units, 0.5)
        bare(axes)
        band = "; band: each column reads all" if wiring.exchanges else ""
        axes.set_xlabel(f"{plan.get('granularity', 'unit')}s, from the image on{band}", fontsize=8)
        kinds = ", ".join(dict.fromkeys(join["kind"] for join in plan["joins"]))
        title = f"Columns, and what joins between them read; circles: {kinds} ({plan['method']})"
        entitle(drawn, title)


class _Drawing:
    """Finds a place for everything in a plan with joins."""

    def __init__(self, plan: Mapping[str, Any], sites: Mapping[str, float]) -> None:
        self._tasks, self._joins, self._sites = list(plan["tasks"]), plan["joins"], sites
        self._units = len(plan["units"])
        columns: dict[tuple[str, ...], list[str]] = {}
        for task in self._tasks:
            columns.setdefault(tuple(str(row[task]) for row in plan["units"].values()), []).append(task)
        self._columns = list(columns.values())
        self._marks: dict[str, Mark] = {}
        # Rows: a column, and where several tasks run it, one more for each of them that has joins beside it.
        self._column_row: dict[str, int] = {}
        self._own_row: dict[str, int] = {}
        self._number_rows({join["task"] for join in self._joins})

    def wiring(self) -> Wiring:
        """Return the whole drawing."""
        for join in self._joins:
            self._place(join)
        exchanged = self._exchanged()
        threads = [self._thread(*pair) for pair in self._reads() if self._within(pair) not in exchanged]
        places = tuple(self._sites[site] for site in exchanged)
        return Wiring(tuple(self._rows()), tuple(self._marks.values()), tuple(threads), places)

    def _reads(self) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        return [(join, read) for join in self._joins for read in _taken(join)]

    def _exchanged(self) -> list[str]:
        """Return the sites at which each of many columns reads all of them."""
        counts = Counter(self._within(pair) for pair in self._reads())
        columns = len(self._columns)
        return [site for site, count in counts.items() if site and columns >= _MANY and count >= columns**2]

    @staticmethod
    def _within(pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str | None:
        """Return the site of a join that reads a column at its own site."""
        join, read = pair
        site: str = join["site"]
        return site if read.get("at") == site else None

    def _number_rows(self, joined: set[str]) -> None:
        number = 0
        for tasks in self._columns:
            self._column_row |= dict.fromkeys(tasks, number)
            self._own_row |= dict.fromkeys(tasks, number)
            number += 1
            if len(tasks) > 1:
                for task in tasks:
                    if task in joined:
                        self._own_row[task] = number
                        number += 1

    def _place(self, join: Mapping[str, Any]) -> None:
        x, y = self._sites[join["site"]] + _BEHIND, self._own_row[join["task"]]
        # Several joins of a task at one site stand one behind the other, in the order in which they read.
        while Mark(x, y) in self._marks.values():
            x += _BEHIND / 2
        self._marks[join["name"]] = Mark(x, y)

    def _thread(self, join: Mapping[str, Any], read: Mapping[str, Any]) -> Thread:
        end = self._marks[join["name"]]
        if read.get("join") is not None:
            start = self._marks[read["join"]]
            return Thread((start.x, start.y), (end.x, end.y), self._colour(start.y))
        y = self._column_row[read["task"]]
        return Thread((self._sites[read["at"]], y), (end.x, end.y), self._colour(y))

    def _rows(self) -> list[Row]:
        # Room behind the last unit, or behind the last of several joins there: columns go on to their heads.
        end = max([self._units + 1.0, *(mark.x + _BEHIND for mark in self._marks.values())])
        found = []
        for tasks in self._columns:
            label = "all tasks" if len(tasks) == len(self._tasks) > 1 else ", ".join(tasks)
            found.append(Row(label, self._colour(self._column_row[tasks[0]]), 0.0, end))
            for task in tasks:
                row = self._own_row[task]
                if row != self._column_row[task]:
                    own = [mark.x for mark in self._marks.values() if mark.y == row]
                    found.append(Row(task, self._colour(row), min(own), end))
        return found

    def _colour(self, row: int) -> str:
        for task, own in self._own_row.items():
            if own == row and (self._column_row[task] != own or self._is_alone(task)):
                return task_colour(self._tasks.index(task))
        return SHARED

    def _is_alone(self, task: str) -> bool:
        return any(tasks == [task] for tasks in self._columns)


def _taken(join: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    left_out = set(join.get("left_out", ()))
    return [read for number, read in enumerate(join["reads"]) if number not in left_out]


def _connect(axes: Axes, thread: Thread) -> None:
    (x0, y0), (x1, y1) = thread.start, thread.end
    axes.plot([x0, x1], [y0, y1], color=thread.colour, linewidth=1.1, alpha=0.9, zorder=2)
    if y0 != y1:
        axes.plot([x0], [y0], ".", color=thread.colour, markersize=5, zorder=2)
