"""Relative performance: by how many percent a model is better, or worse, than single-task models.

AutoMTL (Sec. 4) and TreeMTL (Sec. 4): for task t with metrics M_1 … M_n and the single-task model's S_1 … S_n,

    Δ_t = 1/n Σ_i (-1)^{l_i} (M_i - S_i) / S_i · 100,    l_i = 1 where lower is better, else 0,

and Δ is the mean of Δ_t over tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from trunkline.errors import InvalidConfig, Problem
from trunkline.text import quoted

Table = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class RelativePerformance:
    """Percent of improvement over the baseline; positive is better.

    Attributes:
        by_task: Δ_t by task.
        mean: Mean of Δ_t over tasks; NaN where there is none.
        left_out: ``task.metric`` of terms that do not exist: a value is not finite, or the baseline is 0.

    >>> found = relative_performance({"depth": {"rmse": 0.9}}, {"depth": {"rmse": 1.0}}, {"depth": {"rmse": False}})
    >>> f"{found.mean:+.1f} %"
    '+10.0 %'
    """

    by_task: dict[str, float]
    mean: float
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, float]:
        """Return Δ by task, and as ``mean``."""
        return {**self.by_task, "mean": self.mean}


def relative_performance(
    metrics: Table, baseline: Table, higher_is_better: Mapping[str, Mapping[str, bool]]
) -> RelativePerformance:
    """Compare a model's metrics with the single-task models'.

    Args:
        metrics: The model's metrics, by task and metric.
        baseline: The metrics of models trained the same way for one task each, by task and metric.
        higher_is_better: The metrics that count, by task as :attr:`~trunkline.train.tasks.base.Task.higher_is_better`.

    Raises:
        InvalidConfig: a metric that counts is absent on either side; all of them are named.
    """
    _check(metrics, baseline, higher_is_better)
    by_task: dict[str, float] = {}
    left_out: list[str] = []
    for task, directions in higher_is_better.items():
        terms: dict[str, float] = {}
        for metric, higher in directions.items():
            value, single = metrics[task][metric], baseline[task][metric]
            # A metric is NaN where nothing was labelled, and a baseline of 0 has no percentage.
            if not math.isfinite(value) or not math.isfinite(single) or single == 0:
                left_out.append(f"{task}.{metric}")
                continue
            sign = 1 if higher else -1
            terms[metric] = sign * (value - single) / single * 100
        if terms:
            by_task[task] = _mean(terms)
    return RelativePerformance(by_task, _mean(by_task), tuple(left_out))


def _mean(values: Mapping[str, float]) -> float:
    return math.fsum(values.values()) / len(values) if values else math.nan


def _check(metrics: Table, baseline: Table, higher_is_better: Mapping[str, Mapping[str, bool]]) -> None:
    problems = []
    for side, table in (("metrics", metrics), ("baseline", baseline)):
        for task, directions in higher_is_better.items():
            absent = [metric for metric in directions if metric not in table.get(task, {})]
            problems += [Problem(f"no metric {quoted(metric)}", f"{side}.{task}") for metric in absent]
    if problems:
        raise InvalidConfig(problems)
