"""The k best layouts where one price of a budget is not enough to prove them: every part is bounded by itself.

A layout is made group by group, from the first block on. What is made of one so far, and the best that could follow,
gives a bound for any prices λ ≥ 0 of the budgets: score − λ · cost of both, plus λ · limit. The smallest of these over
several λ is far nearer to what is possible than the one λ that suits all layouts together. Parts are followed in
descending order of their bounds, and the bound of a complete one that fits is its score: the first k of these are best.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trunkline.sharing.layouts.partition_table import Floats, PartitionTable, subsets

Blocks = list[list[int]]
Chosen = tuple[tuple[int, int], ...]
"""Groups that are chosen, each with its block, as sets of bits."""


class _PartialLayout(NamedTuple):
    """A layout that is made in part.

    Attributes:
        values: By price, score minus price of what is chosen and of the best that may follow: ``[P]``.
        open: Tasks that are still to be parted, with their block; empty where the layout is complete.
        chosen: The groups so far.
    """

    values: Floats
    open: tuple[tuple[int, int], ...]
    chosen: Chosen


@dataclass(frozen=True, slots=True)
class Searched:
    """What a bounded search came to.

    Attributes:
        layouts: The best that fit, best first, each with its score.
        bound: None that fits and is not among these has a greater score.
        proved: Whether these are the best.
    """

    layouts: list[tuple[float, Blocks]]
    bound: float
    proved: bool


def search_bounded(
    tables: Sequence[PartitionTable],
    paid: Floats,
    budgets: int,
    fits: Callable[[Blocks], bool],
    *,
    most: int,
    least: float,
    most_steps: int,
) -> Searched:
    """Return the ``most`` best layouts that fit, of those with a score of ``least`` at least.

    Args:
        tables: The best that may follow, for some prices each; the first for prices of 0. The last ones are of a score
            of 0 and of the costs of one budget each: by them, what cannot fit any more is left out.
        paid: What the budgets' limits cost at each of these prices, and at last the limits themselves: ``[P]``.
        budgets: How many of the last ones there are.
        fits: Whether a layout is within all budgets.
        most: How many are wanted.
        least: A score that so many layouts that fit are known to reach.
        most_steps: Parts that are followed before it gives up.
    """
    search = _Search(tables, paid, budgets, least)
    found: list[tuple[float, Blocks]] = []
    while search.heap and len(found) < most and search.steps < most_steps:
        part = search.pop()
        if part.open:
            search.follow(part)
            continue
        blocks = _blocks(part.chosen, len(tables[0].groups))
        if fits(blocks):
            # At prices of 0 the value of a complete one is its score.
            found.append((float(part.values[0]), blocks))
    bound = -search.heap[0][0] if search.heap else float("-inf")
    return Searched(found, bound, proved=len(found) == most or not search.heap)


class _Search:
    def __init__(self, tables: Sequence[PartitionTable], paid: Floats, budgets: int, least: float) -> None:
        self.groups: Floats = np.stack([table.groups for table in tables])  # [P, B, 2^T]
        self.best: Floats = np.stack([table.best for table in tables])
        self.paid, self.least = paid, least
        self.priced = len(tables) - budgets
        self.blocks = self.groups.shape[1]
        self.slack = 1e-9 * max(1.0, float(np.abs(tables[0].within).max()))
        self.heap: list[tuple[float, int, _PartialLayout]] = []
        self.steps = 0
        self._ties = count()
        everyone = self.groups.shape[2] - 1
        start = np.array([table.within[0][everyone] + table.best[0][everyone] for table in tables])
        self._push(_PartialLayout(start, ((0, everyone),), ()))

    def pop(self) -> _PartialLayout:
        return heapq.heappop(self.heap)[2]

    def follow(self, part: _PartialLayout) -> None:
        """Choose the group of the highest task that is still open, in every way."""
        self.steps += 1
        (block, members), *later = part.open
        highest = 1 << (members.bit_length() - 1)
        ways: NDArray[np.intp] = np.array([highest | others for others in subsets(members ^ highest)], np.intp)
        rests = members ^ ways
        # What stood for the best way to part all of them is replaced by this group and the best way for the rest.
        change = self.groups[:, block, ways] + self.best[:, block, rests] - self.best[:, block, members][:, None]
        values = part.values[:, None] + change
        margins = values + self.paid[:, None]
        may_fit = (margins[self.priced :] >= 0).all(axis=0)
        good = margins[: self.priced].min(axis=0) >= self.least - self.slack
        for place in np.flatnonzero(may_fit & good):
            group, rest = int(ways[place]), int(rests[place])
            opened = [(block, rest)] if rest else []
            # Alone, or behind the last block, there is nothing to choose; what it counts stands in the value already.
            if block + 1 < self.blocks and group & (group - 1):
                opened.append((block + 1, group))
            self._push(_PartialLayout(values[:, place], (*opened, *later), (*part.chosen, (block, group))))

    def _push(self, part: _PartialLayout) -> None:
        bound = float((part.values + self.paid)[: self.priced].min())
        heapq.heappush(self.heap, (-bound, next(self._ties), part))


def _blocks(chosen: Chosen, depth: int) -> Blocks:
    """Return the groups of every block; a task that is alone stays so, and is not chosen again."""
    blocks: Blocks = [[] for _ in range(depth)]
    for block, group in chosen:
        blocks[block].append(group)
        if not group & (group - 1):
            for later in range(block + 1, depth):
                blocks[later].append(group)
    return blocks
