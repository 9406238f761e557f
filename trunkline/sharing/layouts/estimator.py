"""TreeMTL's estimate of what a layout comes to, without training it (Zhang et al. 2022, Sec. 3.1).

A task's estimate is the mean, over the other tasks, of what it came to beside each in a model of two that part at the
same block. A layout's score is the weighted mean of its tasks' estimates (Eq. 2); a task weighs the more, the more
regular its series over branching points are (Eq. 1).

What the paper and its release weigh is not the same:

* ``entropy``, the release's, which makes the paper's tables: w_t ∝ 1 − mean over partners of SVDE.
* ``paper``: Eq. 1 to the letter, w_t ∝ −mean SVDE. Divided by their sum, these weigh the *less* regular tasks more.
* ``uniform``: all alike.

And the paper's series begin at b = 0, where nothing is shared, the release's at b = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.svd_entropy import ORDER, svd_entropy
from trunkline.sharing.layouts.two_task_table import TwoTaskTable

Weighing = Literal["entropy", "paper", "uniform"]
Rows = Literal["release", "paper"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TaskEstimate:
    """What a task of a layout is expected to come to.

    Attributes:
        percent: Relative performance against a single-task model.
        error: Standard error of this mean over partners, in percent; ``None`` with one partner.
    """

    percent: float
    error: float | None


@dataclass(frozen=True)
class Estimator:
    """Scores layouts by a table of two-task models.

    Attributes:
        table: What models of two tasks have shown.
        weights: Of each task, in order, with a sum of 1.
        notes: What had to be done otherwise than asked for.
    """

    table: TwoTaskTable
    weights: Floats
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: TwoTaskTable, weighing: Weighing = "entropy", rows: Rows = "release") -> Estimator:
        """Return the estimator that weighs tasks in one of the ways above."""
        if weighing == "uniform":
            return cls(table, _normalised(np.ones(len(table.tasks))))
        irregular = _mean_entropies(table, 0 if rows == "paper" else 1)
        if irregular is None:
            note = f"series of fewer than {ORDER} branching points have no entropy: tasks weigh alike"
            return cls(table, _normalised(np.ones(len(table.tasks))), (note,))
        raw = irregular if weighing == "paper" else 1 - irregular
        if not raw.sum() > np.finfo(np.float64).eps:
            note = "all tasks' series are alike in entropy, at its end: tasks weigh alike"
            return cls(table, _normalised(np.ones(len(table.tasks))), (note,))
        return cls(table, _normalised(np.maximum(raw, 0.0)))

    def estimates(self, layout: Layout) -> dict[str, TaskEstimate]:
        """Return what each task is expected to come to."""
        values = self._values_of(layout)
        found = {}
        for task, row in zip(self.table.tasks, values, strict=True):
            error = float(row.std(ddof=1) / np.sqrt(len(row))) if len(row) > 1 else None
            found[task] = TaskEstimate(float(row.mean()), error)
        return found

    def score(self, layout: Layout) -> float:
        """Return Eq. 2: the weighted mean of the tasks' estimates, in percent."""
        return float(self.weights @ self._values_of(layout).mean(axis=1))

    def error(self, layout: Layout) -> float | None:
        """Return the standard error of the score, as if the tasks' were independent; ``None`` with two tasks."""
        values = self._values_of(layout)
        partners = values.shape[1]
        if partners == 1:
            return None
        errors = self.weights * values.std(axis=1, ddof=1) / np.sqrt(partners)
        return float(np.sqrt((errors**2).sum()))

    def pair_scores(self) -> Floats:
        """Return what every pair counts in a layout's score by where it parts: symmetric, ``[T, T, B + 1]``.

        A score is the sum over pairs t < u of w_t · value(t beside u) + w_u · value(u beside t), over T − 1. So the
        best layouts can be found without enumerating them.
        """
        weighted = self.weights[:, None, None] * self.table.values / (len(self.table.tasks) - 1)
        both: Floats = weighted + weighted.transpose(1, 0, 2)
        return both

    def scores(self, points: NDArray[np.int64]) -> Floats:
        """Return the scores of many layouts at once.

        Args:
            points: Branching points by layout and pair of tasks, ``[N, pairs]``, pairs in order of
                :func:`itertools.combinations`.
        """
        pairs = self.pair_scores()
        found = np.zeros(len(points))
        for place, (task, other) in enumerate(combinations(range(len(self.table.tasks)), 2)):
            found += pairs[task, other][points[:, place]]
        return found

    def _values_of(self, layout: Layout) -> Floats:
        """Return what each task came to beside each other one, where they part in the layout: ``[T, T - 1]``."""
        tasks = self.table.tasks
        rows = [
            [self.table.values[t, u, layout.branching_point(task, other)] for u, other in enumerate(tasks) if u != t]
            for t, task in enumerate(tasks)
        ]
        return np.array(rows)


def weights_by_task(estimator: Estimator) -> Mapping[str, float]:
    """Return the weights by task name."""
    return {task: float(weight) for task, weight in zip(estimator.table.tasks, estimator.weights, strict=True)}


def _mean_entropies(table: TwoTaskTable, first: int) -> Floats | None:
    """Return the mean entropy of each task's series from a branching point on; ``None`` where they are too short."""
    found = []
    for task in table.tasks:
        entropies = [svd_entropy(table.series(task, other)[first:]) for other in table.tasks if other != task]
        known = [entropy for entropy in entropies if entropy is not None]
        if len(known) < len(entropies):
            return None
        found.append(sum(known) / len(known))
    return np.array(found)


def _normalised(raw: Sequence[float] | Floats) -> Floats:
    values = np.asarray(raw, dtype=np.float64)
    found: Floats = values / values.sum()
    return found
