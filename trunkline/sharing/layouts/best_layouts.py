"""The k best layouts under budgets, exact, without enumerating the others.

A layout's cost is a sum over blocks and groups, c_l for each group of block l, for each budget its own c. Prices λ ≥ 0
put costs into the score: L = score − Σ λ · cost. Whatever fits into budgets C has a score of at most L + Σ λ · C. So
layouts are made in descending L, and when L + Σ λ · C falls below the k-th best score that fits, no other can be
better. Prices only decide how many have to be made: those that make the bound on the best score smallest are taken.
Where a budget is so tight that even these leave too many, parts of layouts are bounded each by prices of its own
(:mod:`trunkline.sharing.layouts.bounded_search`).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trunkline.sharing.layouts.bounded_search import search_bounded
from trunkline.sharing.layouts.partition_table import Floats, PartitionTable, within_sets
from trunkline.sharing.layouts.ranked_layouts import RankedLayouts

MOST_TASKS = 12
"""3^T pairs of a set and a group are looked at, for each block."""
MOST_MADE = 2_000
"""Layouts that are made at most before parts of layouts are bounded each by itself."""
MOST_STEPS = 20_000
"""Parts that are followed at most before the search gives up proving."""
FACTORS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0, 10_000.0)
"""Prices that parts are bounded by, as multiples of those that suit all layouts together."""
ROUNDS, STEPS = 4, 50
"""How often the prices of several budgets follow each other, and how many lines are tried for one."""

Blocks = list[list[int]]
"""The groups of every block, as sets of bits."""


@dataclass(frozen=True)
class CostLimit:
    """The most that a layout may cost.

    Attributes:
        costs: What a group of each block costs: ``[B]``, none below 0.
        limit: The most that all groups of all blocks may cost.
    """

    costs: Floats
    limit: float

    def cost_of(self, blocks: Sequence[Sequence[int]]) -> float:
        """Return what a layout costs."""
        return float(sum(cost * len(groups) for cost, groups in zip(self.costs, blocks, strict=True)))

    @property
    def most(self) -> float:
        """The limit, and what rounding may add to a sum."""
        return self.limit * (1 + 1e-9) + 1e-12

    def holds(self, cost: float) -> bool:
        """Whether a cost is within."""
        return cost <= self.most


@dataclass(frozen=True)
class BestLayouts:
    """The best layouts that fit.

    Attributes:
        layouts: For each, the best first: its score, and the groups of every block as sets of bits.
        bound: No layout that fits and is not among these has a greater score; minus infinity if there is none.
        proved: Whether these are the best.
    """

    layouts: list[tuple[float, Blocks]]
    bound: float
    proved: bool


def best_layouts(pairs: Floats, budgets: Sequence[CostLimit], blocks: int, most: int) -> BestLayouts:
    """Return the best layouts under all budgets.

    Args:
        pairs: What tasks t and u count together if they part at b: symmetric, ``[T, T, B + 1]``, T at most
            :data:`MOST_TASKS`.
        budgets: All of them hold.
        blocks: B.
        most: How many are wanted.
    """
    within = within_sets(pairs)
    prices = _prices(within, budgets, blocks)
    limit = sum(price * budget.limit for price, budget in zip(prices, budgets, strict=True))
    slack = 1e-9 * max(1.0, float(np.abs(within).max()))
    found: list[tuple[float, Blocks]] = []
    bound, made = float("-inf"), 0
    for value, groups in RankedLayouts(_priced(within, budgets, prices, blocks)):
        bound = value + limit
        worst = found[most - 1][0] if len(found) == most else float("-inf")
        if bound < worst - slack or made == MOST_MADE:
            break
        made += 1
        costs = [budget.cost_of(groups) for budget in budgets]
        if all(budget.holds(cost) for budget, cost in zip(budgets, costs, strict=True)):
            score = value + sum(price * cost for price, cost in zip(prices, costs, strict=True))
            insort(found, (score, groups), key=lambda entry: -entry[0])
            del found[most:]
    else:
        bound = float("-inf")  # every layout was made
    if made < MOST_MADE:
        return BestLayouts(found, bound, proved=True)
    searched = _searched(within, budgets, prices, most, found)
    return searched if searched.proved else replace(searched, bound=min(bound, searched.bound))


def _searched(
    within: Floats, budgets: Sequence[CostLimit], prices: Sequence[float], most: int, known: list[tuple[float, Blocks]]
) -> BestLayouts:
    """Return the best layouts by bounding parts of them, given those that one price has led to."""
    at = _prices_of_parts(within, budgets, prices)
    tables = [_priced(within, budgets, each, len(within) - 1) for each in at]
    paid = [sum(price * each.most for price, each in zip(row, budgets, strict=True)) for row in at]
    # And what each budget costs at least, whatever the score.
    tables += [PartitionTable(np.zeros_like(within), [float(cost) for cost in each.costs]) for each in budgets]
    paid += [each.most for each in budgets]
    least = known[-1][0] if len(known) == most else float("-inf")

    def fits(groups: Blocks) -> bool:
        return all(budget.holds(budget.cost_of(groups)) for budget in budgets)

    searched = search_bounded(tables, np.array(paid), len(budgets), fits, most=most, least=least, most_steps=MOST_STEPS)
    if searched.proved:
        return BestLayouts(searched.layouts, searched.bound, proved=True)
    return BestLayouts(known, max(searched.bound, least), proved=False)


def _prices_of_parts(within: Floats, budgets: Sequence[CostLimit], prices: Sequence[float]) -> list[tuple[float, ...]]:
    """Return the prices that parts are bounded by: none, multiples of those that suit all, and each by itself."""
    # A budget that the best layouts keep within has no price, but a part may be up against it.
    spread = float(np.abs(within).max())
    usual = [price or spread / max(budget.limit, 1e-12) for price, budget in zip(prices, budgets, strict=True)]
    rows = [tuple(0.0 for _ in usual), *(tuple(factor * price for price in usual) for factor in FACTORS)]
    for number in range(len(usual)):
        alone = [factor * usual[number] for factor in FACTORS[::3]]
        rows += [tuple(price * (place == number) for place in range(len(usual))) for price in alone]
    return list(dict.fromkeys(rows))


def _prices(within: Floats, budgets: Sequence[CostLimit], blocks: int) -> list[float]:
    """Return prices that make the bound on the best score small; with one budget, the smallest."""
    prices = [0.0] * len(budgets)
    # With several budgets the price of one depends on the others'. Any prices give a bound, so near is enough.
    for _ in range(1 if len(budgets) == 1 else ROUNDS):
        before = list(prices)
        for number in range(len(budgets)):
            prices[number] = _price(within, budgets, prices, number, blocks)
        if prices == before:
            break
    return prices


def _price(within: Floats, budgets: Sequence[CostLimit], prices: Sequence[float], number: int, blocks: int) -> float:
    """Return the price of one budget for which the bound is smallest, while the others' prices stay.

    As a function of it, the bound is the highest of many lines, one for each layout. Where the lowest line that rises
    meets the one that falls, either no layout is above both, or the one that is takes the place of one of them.
    """
    limit = budgets[number].limit

    def line(blocks_of: Blocks, value: float, at: float) -> tuple[float, float]:
        cost = budgets[number].cost_of(blocks_of)
        return value + at * cost, cost

    def best(at: float) -> tuple[float, float]:
        others = [*prices[:number], at, *prices[number + 1 :]]
        value, groups = next(iter(RankedLayouts(_priced(within, budgets, others, blocks))))
        return line(groups, value, at)

    dear = best(0.0)
    if budgets[number].holds(dear[1]):
        return 0.0
    shared: Blocks = [[len(within[0]) - 1]] * blocks
    paid = sum(
        price * budget.cost_of(shared)
        for place, (price, budget) in enumerate(zip(prices, budgets, strict=True))
        if place != number
    )
    cheap = line(shared, float(within[-1][-1]) - paid, 0.0)
    for _ in range(STEPS):
        price = (dear[0] - cheap[0]) / (dear[1] - cheap[1])
        found = best(price)
        above = (found[0] - price * found[1]) - (dear[0] - price * dear[1])
        if above <= 1e-12 * max(1.0, abs(dear[0])):
            break
        if found[1] > limit:
            dear = found
        else:
            cheap = found
    return max(price, 0.0)


def _priced(within: Floats, budgets: Sequence[CostLimit], prices: Sequence[float], blocks: int) -> PartitionTable:
    paid = np.zeros(blocks)
    for price, budget in zip(prices, budgets, strict=True):
        paid = paid + price * budget.costs
    return PartitionTable(within, [float(value) for value in paid])
