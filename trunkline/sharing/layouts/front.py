"""The front of layouts: those that no other one beats in score and in cost at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline.sharing.layouts.best_layouts import CostLimit
from trunkline.sharing.layouts.counting import count_layouts
from trunkline.sharing.layouts.enumeration import MOST_LAYOUTS, enumerate_layouts
from trunkline.sharing.layouts.estimator import Estimator
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.ranking import rank_layouts

Floats = NDArray[np.float64]
STEPS = 24
"""Budgets that are tried where there are too many layouts to enumerate."""


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A layout of the front.

    Attributes:
        cost: What it costs.
        score: What it is estimated to come to, in percent.
        layout: The layout.
    """

    cost: float
    score: float
    layout: Layout


def score_cost_front(estimator: Estimator, costs: Floats) -> list[FrontPoint]:
    """Return the front, the cheapest first: all of it where layouts are few, else the best for some budgets.

    Args:
        estimator: Scores layouts.
        costs: What a group of each block costs: ``[B]``.
    """
    tasks, blocks = estimator.table.tasks, estimator.table.blocks
    if count_layouts(len(tasks), blocks) <= MOST_LAYOUTS:
        return _of_all(estimator, costs)
    least = float(costs.sum())
    budgets = np.linspace(least, least * len(tasks), STEPS)
    found = []
    for budget in budgets:
        (best,) = rank_layouts(estimator, {"cost": CostLimit(costs, float(budget))}, 1).layouts
        cost = sum(cost * len(groups) for cost, groups in zip(costs, best.layout.blocks, strict=True))
        found.append(FrontPoint(float(cost), best.score, best.layout))
    return _unbeaten(found)


def _of_all(estimator: Estimator, costs: Floats) -> list[FrontPoint]:
    layouts = enumerate_layouts(estimator.table.tasks, estimator.table.blocks)
    scores, total = estimator.scores(layouts.branching_points()), layouts.groups @ costs
    found: list[FrontPoint] = []
    # Of those that cost the same the best comes first, so that the others do not reach the front.
    for number in np.lexsort((-scores, total)):
        if not found or scores[number] > found[-1].score:
            found.append(FrontPoint(float(total[number]), float(scores[number]), layouts.layout(int(number))))
    return found


def _unbeaten(points: list[FrontPoint]) -> list[FrontPoint]:
    found: list[FrontPoint] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.score)):
        if not found or point.score > found[-1].score:
            found.append(point)
    return found
