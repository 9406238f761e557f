"""Trees of blocks ranked by a table: all of them where there are few, and the best ten of 10¹⁵ where there are not.

Theirs is the same, tree by tree: layouts in a set, each scored by itself, as one would write it first. (TreeMTL's
release keeps them in a list and looks through it for each new one, which takes minutes for 5 tasks and 5 blocks.) Where
there are too many trees for that, it is a second, which a person waits without noticing.

Tables and costs are random, with a seed; both ways must come to the same trees.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from bench_suite.common import in_turns, milliseconds
from bench_suite.result import Result, Target, against, speed_up
from trunkline.sharing.layouts.best_layouts import CostLimit
from trunkline.sharing.layouts.estimator import Estimator
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.ranking import Ranking, rank_layouts
from trunkline.sharing.layouts.two_task_table import TwoTaskTable

TOP = 10
ROUNDS = 11
SECOND_MS = 1000.0


def run(quick: bool) -> list[Result]:
    """Compare in CPU time, which neighbours hardly touch: all of it is work of one core."""
    # Eight tasks are too many to be enumerated, also in six blocks.
    sizes = ((4, 3), (8, 6)) if quick else ((5, 5), (10, 20))
    return [_of_few(*sizes[0], Target(5.0)), *(_of_many(*sizes[1], models) for models in (1.2, 2.0, 4.0))]


def _of_few(tasks: int, blocks: int, target: Target) -> Result:
    estimator, costs = _problem(tasks, blocks)
    budget = {"models": CostLimit(costs, tasks / 2)}

    def ours() -> Ranking:
        return rank_layouts(estimator, budget, TOP)

    def theirs() -> list[Layout]:
        return _one_by_one(estimator, costs, tasks / 2)

    if [found.layout for found in ours().layouts] != theirs():
        raise ValueError("the two ways rank other trees")
    before, after = in_turns(theirs, ours, rounds=ROUNDS, clock=time.process_time_ns)
    name = f"{tasks} tasks, {blocks} blocks, all {ours().count:,} trees"
    return speed_up(name, after, before, target=target)


def _of_many(tasks: int, blocks: int, models: float) -> Result:
    estimator, costs = _problem(tasks, blocks)
    budget = {"models": CostLimit(costs, models)}
    found = rank_layouts(estimator, budget, TOP)
    if not found.proved:
        raise ValueError("not proved to be the best")
    times = [milliseconds(lambda: rank_layouts(estimator, budget, TOP), time.process_time_ns) for _ in range(ROUNDS)]
    name = f"{tasks} tasks, {blocks} blocks, best {TOP} of {found.count:.1e} within {models:g} models"
    return against(name, times, SECOND_MS, "ms", target=Target(1.0))


def _problem(tasks: int, blocks: int) -> tuple[Estimator, np.ndarray]:
    """Return an estimator by a table in which sharing more costs more, with noise, and blocks' shares of a backbone."""
    rng = np.random.default_rng(0)
    names = [f"task{number}" for number in range(tasks)]
    rows: dict[tuple[str, str, int], float] = {}
    for task in names:
        for other in names:
            if task != other:
                steps = rng.normal(-0.3, 1.0, blocks)
                rows |= {(task, other, point): float(steps[:point].sum()) for point in range(blocks + 1)}
    costs = rng.uniform(0.5, 1.5, blocks)
    return Estimator.of(TwoTaskTable.of(names, rows)), costs / costs.sum()


def _one_by_one(estimator: Estimator, costs: np.ndarray, most: float) -> list[Layout]:
    tasks, blocks = estimator.table.tasks, estimator.table.blocks
    start = Layout.all_shared(tasks, blocks)
    met, waiting = {start}, [start]
    while waiting:
        for cut in _cuts(waiting.pop()):
            if cut not in met:
                met.add(cut)
                waiting.append(cut)
    fitting = [found for found in met if sum(c * len(g) for c, g in zip(costs, found.blocks, strict=True)) <= most]
    return sorted(fitting, key=estimator.score, reverse=True)[:TOP]


def _cuts(layout: Layout) -> Iterator[Layout]:
    last = layout.blocks[-1]
    first = next(number for number, groups in enumerate(layout.blocks) if groups == last)
    for block in range(first, len(layout.blocks)):
        for group in last:
            for size in range(1, len(group)):
                for moved in combinations(group, size):
                    yield layout.cut(block, moved)
