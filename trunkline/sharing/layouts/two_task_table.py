"""What models of two tasks have shown: a task's performance beside each other task, by where the two part.

The table is TreeMTL's (Zhang et al. 2022, Sec. 3.1). A branching point b means that the first b blocks are shared, so 0
is two single-task models, and B one model for both. As a file it is tidy CSV, a row for each number:

    task,partner,branch_point,relative_performance_percent
    segmentation,depth,0,0.0
    segmentation,depth,1,2.79
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig, Problem
from trunkline.text import quoted

COLUMNS = ("task", "partner", "branch_point", "relative_performance_percent")


@dataclass(frozen=True)
class TwoTaskTable:
    """Relative performance of tasks in pairs, complete.

    Attributes:
        tasks: Task names; their order decides the numbers of layouts.
        values: Of task t beside u, parting at b, in percent against a single-task model: ``[T, T, B + 1]``. The
            diagonal is 0.

    >>> rows = {("a", "b", 0): 0.0, ("a", "b", 1): 2.0, ("b", "a", 0): 0.0, ("b", "a", 1): 1}
    >>> table = TwoTaskTable.of(["a", "b"], rows)
    >>> table.blocks, table.series("a", "b")
    (1, (0.0, 2.0))
    """

    tasks: tuple[str, ...]
    values: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, tasks: Sequence[str], rows: Mapping[tuple[str, str, int], float]) -> TwoTaskTable:
        """Return the table with these numbers, by task, partner and branching point.

        Raises:
            InvalidConfig: Fewer than two tasks, a number is missing, is none, or belongs to no task.
        """
        if len(tasks) < 2:
            raise InvalidConfig("a table needs two tasks at least", place="table")
        last = max((point for _, _, point in rows), default=0)
        if last < 1:
            text = "the table has no branching point behind 0, where nothing is shared"
            raise InvalidConfig(text, place="table", advice="it has a row for each of 0, 1, …, B blocks shared")
        problems = _problems_of(tasks, rows, last)
        if problems:
            raise InvalidConfig(problems)
        values = np.zeros((len(tasks), len(tasks), last + 1))
        number = {task: place for place, task in enumerate(tasks)}
        for (task, partner, point), value in rows.items():
            values[number[task], number[partner], point] = value
        values.flags.writeable = False
        return cls(tuple(tasks), values)

    @property
    def blocks(self) -> int:
        """The number of blocks B."""
        return int(self.values.shape[2]) - 1

    def renamed(self, tasks: Sequence[str]) -> TwoTaskTable:
        """Return the table with other names for its tasks, in the same order.

        Raises:
            InvalidConfig: There are more names than tasks, or fewer.
        """
        if len(tasks) != len(self.tasks):
            text = f"{len(tasks)} names, and the table has {len(self.tasks)} tasks: {', '.join(self.tasks)}"
            raise InvalidConfig(text, place="tasks", advice="give one for each, in this order")
        return TwoTaskTable(tuple(tasks), self.values)

    def in_order(self, tasks: Sequence[str]) -> TwoTaskTable:
        """Return the table with its tasks in another order."""
        places = [self.tasks.index(task) for task in tasks]
        return TwoTaskTable(tuple(tasks), self.values[np.ix_(places, places)])

    def series(self, task: str, partner: str) -> tuple[float, ...]:
        """Return what a task comes to beside a partner, for b = 0 … B."""
        found = self.values[self.tasks.index(task), self.tasks.index(partner)]
        return tuple(float(value) for value in found)


def _problems_of(
    tasks: Sequence[str], rows: Mapping[tuple[str, str, int], float], last: int, most: int = 10
) -> list[Problem]:
    problems = []
    for (task, partner, point), value in rows.items():
        where = f"{task}, {partner}, {point}"
        if task not in tasks or partner not in tasks or task == partner:
            problems.append(Problem(f"{quoted(task)} beside {quoted(partner)} is no pair of the tasks", where))
        elif not np.isfinite(value):
            problems.append(Problem(f"{value} is no number", where, advice="measure this pair again"))
    pairs = [(task, partner) for task in tasks for partner in tasks if task != partner]
    for task, partner in pairs:
        missing = [str(point) for point in range(last + 1) if (task, partner, point) not in rows]
        if missing:
            text = f"{quoted(task)} beside {quoted(partner)} has no number at branching point {', '.join(missing)}"
            problems.append(Problem(text, "table", advice=f"each pair has one for each of 0, 1, …, {last}"))
    if len(problems) > most:
        return [*problems[:most], Problem(f"and {len(problems) - most} more", "table")]
    return problems
