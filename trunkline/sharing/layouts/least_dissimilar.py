"""The tree whose groups see images most alike, under budgets (What-to-Share, Vandenhende et al. 2019, Sec. 3.2).

Where there are few trees all are looked at. Else branches are made from the tasks towards the image, as in the paper: a
block's groups are merged ones of the block behind it, and of all ways only the best few are followed. That is no proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.best_layouts import CostLimit
from trunkline.sharing.layouts.counting import count_layouts
from trunkline.sharing.layouts.enumeration import MOST_LAYOUTS, Masks, enumerate_layouts, named
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.ranking import check_limits, fitting
from trunkline.sharing.layouts.representation import partition_cost

Floats = NDArray[np.float64]
MOST_TASKS = 10
"""Ways to merge ten groups are 115,975, for every state that is followed."""
FOLLOWED = 200
"""States that are followed from block to block."""


@dataclass(frozen=True, slots=True)
class LeastDissimilar:
    """The cheapest tree that fits.

    Attributes:
        layout: The tree.
        cost: Sum over blocks of what its groups differ; 0 where nothing is shared.
        index: Its number in TreeMTL's numbering, where all trees were looked at.
        proved: Whether none that fits is cheaper.
    """

    layout: Layout
    cost: float
    index: int | None
    proved: bool


def least_dissimilar(tasks: Sequence[str], affinities: Floats, limits: Mapping[str, CostLimit]) -> LeastDissimilar:
    """Return the tree with the smallest cost within all limits; of equal ones the one with the smaller number.

    Args:
        tasks: Task names, in output order.
        affinities: Of every two tasks in every block: ``[B, T, T]``.
        limits: Budgets by name; without any, nothing would be shared.

    Raises:
        InvalidConfig: Nothing fits, or there are too many tasks.
    """
    check_limits(limits)
    if count_layouts(len(tasks), len(affinities)) <= MOST_LAYOUTS:
        return _of_all(tasks, affinities, limits)
    if len(tasks) > MOST_TASKS:
        text = f"{len(tasks)} tasks, and trees are searched for {MOST_TASKS} at most"
        raise InvalidConfig(text, place="tasks", advice="leave some out, or find trees for groups of them")
    return _followed(tasks, affinities, limits)


def dissimilarity(layout: Layout, affinities: Floats) -> float:
    """Return what the groups of a tree differ, summed over its blocks; ``affinities`` are ``[B, T, T]``."""
    number = {task: place for place, task in enumerate(layout.tasks)}
    masks = [tuple(sum(1 << number[task] for task in group) for group in groups) for groups in layout.blocks]
    return sum(partition_cost(groups, block) for groups, block in zip(masks, affinities, strict=True))


def _of_all(tasks: Sequence[str], affinities: Floats, limits: Mapping[str, CostLimit]) -> LeastDissimilar:
    layouts = enumerate_layouts(tasks, len(affinities))
    by_partition = np.array([[partition_cost(groups, block) for groups in layouts.partitions] for block in affinities])
    costs = by_partition[np.arange(len(affinities)), layouts.codes].sum(axis=1)
    costs[~fitting(layouts, limits)] = np.inf
    best = int(costs.argmin())
    return LeastDissimilar(layouts.layout(best), float(costs[best]), best, proved=True)


@dataclass(frozen=True, slots=True)
class _State:
    """A tree from some block on.

    Attributes:
        cost: What its groups differ.
        blocks: Its groups, the first block first.
        spent: What it costs, by budget, with one group in every block before it.
    """

    cost: float
    blocks: tuple[Masks, ...]
    spent: tuple[float, ...]


def _followed(tasks: Sequence[str], affinities: Floats, limits: Mapping[str, CostLimit]) -> LeastDissimilar:
    budgets = list(limits.values())
    apart = tuple(1 << number for number in range(len(tasks)))
    states = [_State(0.0, (), tuple(float(budget.costs.sum()) for budget in budgets))]
    known: dict[tuple[int, Masks], float] = {}
    for block in reversed(range(len(affinities))):
        found = []
        for state in states:
            for groups in merged_groups(state.blocks[0] if state.blocks else apart):
                more = [float(budget.costs[block]) * (len(groups) - 1) for budget in budgets]
                spent = tuple(before + extra for before, extra in zip(state.spent, more, strict=True))
                if all(budget.holds(cost) for budget, cost in zip(budgets, spent, strict=True)):
                    key = block, groups
                    if key not in known:
                        known[key] = partition_cost(groups, affinities[block])
                    found.append(_State(state.cost + known[key], (groups, *state.blocks), spent))
        states = sorted(found, key=lambda state: (state.cost, state.blocks))[:FOLLOWED]
    best = states[0]
    layout = Layout(tuple(tasks), tuple(named(groups, tasks) for groups in best.blocks))
    return LeastDissimilar(layout, best.cost, None, proved=False)


def merged_groups(groups: Masks) -> list[Masks]:
    """Return all partitions whose groups are unions of these, those themselves among them."""
    if not groups:
        return [()]
    first, *others = groups
    found = []
    for partition in merged_groups(tuple(others)):
        found.append((first, *partition))
        for place, group in enumerate(partition):
            found.append((*partition[:place], first | group, *partition[place + 1 :]))
    return [tuple(sorted(partition)) for partition in found]
