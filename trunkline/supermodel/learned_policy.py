"""What a method has learned, for pictures: how probable each option is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trunkline.supermodel.task_policies import task_correlation, ways_of_tasks


@dataclass(frozen=True, slots=True)
class Policy:
    """What a method has learned, for pictures.

    Attributes:
        options: What the options are called, such as ``shared``.
        units: Names of the units, in order.
        tasks: Names of the tasks, in output order.
        probabilities: Of each option, ``[units, T, options]``; zeros where a task has no option at a unit.
        chosen_by: As in a :class:`~trunkline.sharing.space.Space`: where it is ``node``, rows are of nodes.
    """

    options: tuple[str, ...]
    units: tuple[str, ...]
    tasks: tuple[str, ...]
    probabilities: NDArray[np.float64]
    chosen_by: Literal["task", "node"] = "task"

    @property
    def by_task(self) -> NDArray[np.float64]:
        """The probability that each task runs each option, ``[units, T, options]``, whoever chooses."""
        return ways_of_tasks(self.probabilities) if self.chosen_by == "node" else self.probabilities

    @property
    def correlation(self) -> dict[str, dict[str, float | None]]:
        """The cosine of two tasks' policies, by task and task."""
        rows = task_correlation(self.by_task)
        return {task: dict(zip(self.tasks, row, strict=True)) for task, row in zip(self.tasks, rows, strict=True)}

    def to_json(self, method: str) -> dict[str, Any]:
        """Return plain JSON content."""
        return {
            "method": method,
            "options": list(self.options),
            "units": list(self.units),
            "tasks": list(self.tasks),
            "chosen_by": self.chosen_by,
            "probabilities": self.probabilities.tolist(),
            "by_task": self.by_task.tolist(),
            "correlation": self.correlation,
        }
