"""How good a model is on a split, and which of two evaluations is better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.spinning import spin_only_when_quiet
from trunkline.train.data.batches import Batch
from trunkline.train.device import Compute
from trunkline.train.model import Trainable
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.relative import relative_performance

Metrics = dict[str, dict[str, float]]
"""Values by task, then by metric."""

RELATIVE = "relative"


@spin_only_when_quiet()
def evaluate(
    model: Trainable, tasks: Sequence[Task], batches: Iterable[Batch], compute: Compute | None = None
) -> Metrics:
    """Return every task's metrics, pooled over all batches.

    The model runs in evaluation mode, in whatever mode of choices it was put, and is left in training mode.

    Args:
        model: On the device of ``compute``.
        tasks: What to judge.
        batches: Every sample once.
        compute: Device and precision; the CPU in float32 by default.
    """
    compute = compute or Compute()
    device = compute.resolve()
    names = [task.name for task in tasks]
    metrics = {task.name: task.metric() for task in tasks}
    model.train(False)
    try:
        with torch.no_grad():
            for batch in batches:
                moved = batch.to(device)
                with compute.autocast():
                    outputs = model(moved.image, names)
                for name in names:
                    metrics[name].update(outputs[name].float(), moved.labels[name])
    finally:
        model.train(True)
    return {name: metric.compute() for name, metric in metrics.items()}


class Judge:
    """Turns an evaluation into one number, the greater the better.

    Args:
        best_by: ``TASK.METRIC``, or ``relative`` for the mean relative performance.
        tasks: Of the run.
        baselines: Metrics of single-task models by task, for ``relative``.

    Raises:
        InvalidConfig: No such task or metric, or no baselines.
    """

    def __init__(
        self, best_by: str, tasks: Sequence[Task], baselines: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        self.best_by = best_by
        self._directions = {f"{t.name}.{m}": up for t in tasks for m, up in _all_directions(t).items()}
        self._counting = {task.name: task.higher_is_better for task in tasks}
        self._baselines = baselines
        if best_by == RELATIVE and baselines is None:
            raise InvalidConfig(
                "relative performance needs baselines",
                place="best_by",
                advice=f"train single-task models first, or name a metric: {', '.join(self._directions)}",
            )
        if best_by != RELATIVE and best_by not in self._directions:
            raise InvalidConfig(
                f'there is no metric "{best_by}"',
                place="best_by",
                advice=did_you_mean(best_by, self._directions) or f"known: {', '.join(self._directions)}",
            )

    def score(self, metrics: Metrics) -> float:
        """Return the number; NaN where the metric does not exist for this evaluation."""
        if self.best_by == RELATIVE and self._baselines is not None:
            return relative_performance(metrics, self._baselines, self._counting).mean
        task, _, metric = self.best_by.rpartition(".")
        value = metrics[task].get(metric, math.nan)
        return value if self._directions[self.best_by] else -value


def _all_directions(task: Task) -> dict[str, bool]:
    return {**task.higher_is_better, **task.informative}
