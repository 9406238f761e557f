"""Evaluate a model on a split, and compare evaluations of it with one another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.spinning import spin_only_when_quiet
from trunkline.text import quoted
from trunkline.train.data.batches import Batch
from trunkline.train.loop.device import Compute
from trunkline.train.tasks.base import Task

Metrics = dict[str, dict[str, float]]
"""Values by task, then by metric."""

RELATIVE = "relative"

_SMALLEST_METRIC = 1e-6
"""Metrics below count as this: one that is still 0 must be the worst there is, but not outweigh all others."""


class Evaluable(Protocol):
    """What gives predictions: a model in training, or a file that is delivered."""

    def train(self, mode: bool) -> object:
        """Go into training mode, or into that of evaluation."""

    def __call__(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return ``[N, K, h, w]`` by task from ``[N, C, H, W]``."""


@spin_only_when_quiet()
def evaluate(
    model: Evaluable, tasks: Sequence[Task], batches: Iterable[Batch], compute: Compute | None = None
) -> Metrics:
    """Return every task's metrics, pooled over all batches.

    The model runs in evaluation mode, in whatever mode of choices it was put, and is left in training mode.

    Args:
        model: On the device of ``compute``.
        tasks: The tasks whose metrics are wanted.
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
                # Outside autocast, in float32: sums over millions of pixels would lose their end in bfloat16.
                for name in names:
                    metrics[name].update(outputs[name].float(), moved.labels[name])
    finally:
        model.train(True)
    return {name: metric.compute() for name, metric in metrics.items()}


def metrics_from_json(content: Mapping[str, Mapping[str, float | None]]) -> Metrics:
    """Return metrics as they were before they were written as JSON, which has no NaN.

    >>> metrics_from_json({"depth": {"rmse": None}})
    {'depth': {'rmse': nan}}
    """
    metrics: Metrics = {}
    for task, values in content.items():
        metrics[task] = {name: math.nan if value is None else value for name, value in values.items()}
    return metrics


class _DecidingMetric(NamedTuple):
    """The metric that decides which weights of a task are the best."""

    task: str
    metric: str
    higher_is_better: bool


class BestMetric:
    """Turns an evaluation into one number for each component of a model, the greater the better.

    The relative performance of two evaluations (:mod:`trunkline.train.tasks.relative`) is, to first order, the
    difference of their mean ±ln M over the metrics that count, + where higher is better. So evaluations of one model
    can be ranked by that mean, without a baseline to compare with.

    Args:
        best_by: ``TASK.METRIC``, which decides for the component of that task; or ``relative``. Every other component
            goes by its own relative performance, as it would if it were trained alone.
        tasks: The tasks of the run.

    Raises:
        InvalidConfig: No such task or metric.

    >>> from trunkline.train.tasks.registry import make_task
    >>> best = BestMetric("depth.rmse", [make_task("depth", "depth", 1)])
    >>> best.score({"depth": {"rmse": 0.5}}, ["depth"])
    -0.5
    """

    def __init__(self, best_by: str, tasks: Sequence[Task]) -> None:
        named: dict[str, _DecidingMetric] = {}
        for task in tasks:
            for metric, higher_is_better in {**task.higher_is_better, **task.informative}.items():
                named[f"{task.name}.{metric}"] = _DecidingMetric(task.name, metric, higher_is_better)
        # Looked up whole, not split at a dot: names of metrics have dots too, as within_11.25 has.
        self._deciding = named.get(best_by)
        self._counting = {task.name: task.higher_is_better for task in tasks}
        if best_by != RELATIVE and best_by not in named:
            known = [RELATIVE, *named]
            raise InvalidConfig(
                f"there is no metric {quoted(best_by)}",
                place="best_by",
                advice=did_you_mean(best_by, known) or f"known: {', '.join(known)}",
            )

    def score(self, metrics: Metrics, component: Sequence[str]) -> float:
        """Return the number for the tasks of a component; NaN where no metric of theirs exists for this evaluation."""
        deciding = self._deciding
        if deciding is None or deciding.task not in component:
            return _mean([self._relative(metrics, name) for name in component if name in metrics])
        value = metrics[deciding.task].get(deciding.metric, math.nan)
        return value if deciding.higher_is_better else -value

    def _relative(self, metrics: Metrics, task: str) -> float:
        terms = []
        for name, higher_is_better in self._counting[task].items():
            # max() keeps a NaN that comes first, and the mean leaves it out.
            logarithm = math.log(max(metrics[task].get(name, math.nan), _SMALLEST_METRIC))
            terms.append(logarithm if higher_is_better else -logarithm)
        return _mean(terms)


def _mean(values: Sequence[float]) -> float:
    """Return the mean of the values that exist; NaN where none does."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
