"""Layouts ranked by their estimated score, under budgets: TreeMTL's recommendation (Zhang et al. 2022, Sec. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig, Problem
from trunkline.sharing.layouts.best_layouts import MOST_TASKS, CostLimit, best_layouts
from trunkline.sharing.layouts.counting import count_layouts
from trunkline.sharing.layouts.enumeration import MOST_LAYOUTS, Enumeration, enumerate_layouts, named
from trunkline.sharing.layouts.estimator import Estimator, weights_by_task
from trunkline.sharing.layouts.layout import Layout

Limits = Mapping[str, CostLimit]
"""Budgets by what they are called in messages; all of them hold."""


@dataclass(frozen=True, slots=True)
class Recommended:
    """A layout with its score.

    Attributes:
        layout: Of the estimator's tasks and blocks.
        score: In percent, Eq. 2.
        index: Its number in the paper's numbering, where all layouts were enumerated.
    """

    layout: Layout
    score: float
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best layouts.

    Attributes:
        count: How many layouts there are.
        feasible: How many fit into the budgets; ``None`` where they were not enumerated.
        layouts: The best that fit, best first; of equal scores the one with the smaller number.
        proved: Whether they are known to be the best.
        bound: No other layout that fits can have a greater score; ``None`` where there is no other.
    """

    count: int
    feasible: int | None
    layouts: tuple[Recommended, ...]
    proved: bool
    bound: float | None


def said_of(estimator: Estimator, found: Recommended) -> dict[str, object]:
    """Return what a layout was chosen by, as plain data for the provenance of its plan."""
    table = estimator.table
    return {
        "index": found.index,
        "score": found.score,
        "estimates": {task: each.percent for task, each in estimator.estimates(found.layout).items()},
        "weights": dict(weights_by_task(estimator)),
        "table": {t: {u: list(table.series(t, u)) for u in table.tasks if u != t} for t in table.tasks},
    }


def rank_layouts(estimator: Estimator, limits: Limits, most: int) -> Ranking:
    """Return the ``most`` best layouts under all limits, exactly.

    Where there are few, all are scored. Else only those are made that could be among the best.

    Raises:
        InvalidConfig: Not even one model for all tasks fits, or there are too many tasks.

    >>> import numpy as np
    >>> from trunkline.sharing.layouts.two_task_table import TwoTaskTable
    >>> rows = {(a, b, point): -float(point) for a, b in ("xy", "yx") for point in range(3)}
    >>> ranking = rank_layouts(Estimator.of(TwoTaskTable.of(["x", "y"], rows), "uniform"), {}, most=2)
    >>> [(found.index, found.score) for found in ranking.layouts]
    [(1, 0.0), (2, -1.0)]
    """
    tasks, blocks = estimator.table.tasks, estimator.table.blocks
    check_limits(limits)
    if count_layouts(len(tasks), blocks) <= MOST_LAYOUTS:
        return _of_all(estimator, enumerate_layouts(tasks, blocks), limits, most)
    if len(tasks) > MOST_TASKS:
        text = f"{len(tasks)} tasks, and layouts are ranked for {MOST_TASKS} at most"
        raise InvalidConfig(text, place="table", advice="leave some out, or recommend for groups of them")
    return _of_many(estimator, limits, most)


def draw_layouts_within(
    estimator: Estimator, limits: Limits, count: int, seed: int, besides: Ranking
) -> tuple[Recommended, ...]:
    """Return layouts that are drawn evenly among those within the limits that are not ranked already.

    Raises:
        InvalidConfig: There are fewer, or too many layouts to draw from evenly.
    """
    if not count:
        return ()
    tasks, blocks = estimator.table.tasks, estimator.table.blocks
    layouts = enumerate_layouts(tasks, blocks)
    taken = {found.index for found in besides.layouts}
    free = [int(number) for number in np.flatnonzero(fitting(layouts, limits)) if int(number) not in taken]
    if len(free) < count:
        text = f"{count} layouts are to be drawn, and {len(free)} are left within the budgets"
        raise InvalidConfig(text, place="random", advice="ask for fewer, or raise a budget")
    drawn = np.random.default_rng(seed).permutation(len(free))[:count]
    scores = estimator.scores(layouts.branching_points())
    numbers = [free[place] for place in drawn]
    return tuple(Recommended(layouts.layout(number), float(scores[number]), number) for number in numbers)


def fitting(enumeration: Enumeration, limits: Limits) -> NDArray[np.bool_]:
    """Return which layouts keep within all limits."""
    fits = np.ones(len(enumeration), dtype=bool)
    for limit in limits.values():
        fits &= enumeration.groups @ limit.costs <= limit.most
    return fits


def _of_all(estimator: Estimator, layouts: Enumeration, limits: Limits, most: int) -> Ranking:
    scores = estimator.scores(layouts.branching_points())
    fits = fitting(layouts, limits)
    order = np.flatnonzero(fits)[np.argsort(-scores[fits], kind="stable")]
    found = tuple(
        Recommended(layouts.layout(int(number)), float(scores[number]), int(number)) for number in order[:most]
    )
    bound = float(scores[order[most]]) if len(order) > most else None
    return Ranking(len(layouts), int(fits.sum()), found, proved=True, bound=bound)


def _of_many(estimator: Estimator, limits: Limits, most: int) -> Ranking:
    tasks, blocks = estimator.table.tasks, estimator.table.blocks
    best = best_layouts(estimator.pair_scores(), list(limits.values()), blocks, most)
    layouts = [Layout(tasks, tuple(named(tuple(groups), tasks) for groups in found)) for _, found in best.layouts]
    found = tuple(Recommended(layout, estimator.score(layout)) for layout in layouts)
    bound = None if best.bound == float("-inf") else best.bound
    return Ranking(count_layouts(len(tasks), blocks), None, found, best.proved, bound)


def check_limits(limits: Limits) -> None:
    """Raise InvalidConfig where not even one model for all tasks is within a limit."""
    problems = []
    for name, limit in limits.items():
        least = float(limit.costs.sum())
        if not limit.holds(least):
            text = f"no layout fits into {name} of {limit.limit:,.6g}: one model for all tasks has {least:,.6g}"
            problems.append(Problem(text, f"budget of {name}", advice="raise it, or take a smaller backbone"))
    if problems:
        raise InvalidConfig(problems)
