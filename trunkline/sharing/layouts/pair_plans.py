"""The models of two tasks that a two-task table is measured by, and the table of what they came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.merged_backbone import MergedBackbone
from trunkline.sharing.layouts.plans import shared_until
from trunkline.sharing.layouts.two_task_table import TwoTaskTable

Changes = Mapping[str, float]
"""Relative performance by task, against single-task models, in percent."""


@dataclass(frozen=True, order=True, slots=True)
class TaskPair:
    """Two tasks, and how many blocks they share: at least one.

    >>> TaskPair("depth", "seg", 2).name
    'depth+seg-2'
    """

    task: str
    other: str
    shared: int

    @property
    def name(self) -> str:
        """What its training is called."""
        return f"{self.task}+{self.other}-{self.shared}"

    def layout(self, depth: int) -> Layout:
        """Return its layout of ``depth`` blocks."""
        return shared_until([self.task, self.other], self.shared, depth)


def pairs_of(tasks: Sequence[str], merged: MergedBackbone) -> list[TaskPair]:
    """Return all models that are trained for a table, but for the single-task models, which all pairs have in common.

    These are T(T-1)/2 · B, of B blocks.
    """
    depth = len(merged.blocks)
    return [TaskPair(*pair, shared) for pair in combinations(tasks, 2) for shared in range(1, depth + 1)]


def table_of_pairs(tasks: Sequence[str], found: Mapping[TaskPair, Changes]) -> TwoTaskTable:
    """Return the table of what pairs came to, against single-task models.

    Raises:
        InvalidConfig: A pair is missing, or one of its tasks has no number.
    """
    rows = {(task, other, 0): 0.0 for task in tasks for other in tasks if task != other}
    for pair, changes in found.items():
        for task, partner in ((pair.task, pair.other), (pair.other, pair.task)):
            if task in changes:
                rows[task, partner, pair.shared] = changes[task]
    return TwoTaskTable.of(tasks, rows)
