"""The best partition of every set of tasks, block by block: the recursion behind the exact search for layouts.

A layout's score is a sum over pairs of tasks, of what a pair counts by the block in which it parts; its price is so
much for every group of every block. Let V(l, S) be the best score minus price of the tasks S from block l on, given
that they are together before it, and W_l(S) what the pairs of S count if all of them part at l. Then

    V(l, S) = W_l(S) + max over partitions of S of  Σ_G  f_l(G),     f_l(G) = V(l+1, G) − price_l − W_l(G),

as a pair in one group does not part at l. Behind the last block V(B, S) = W_B(S): what never parts. A partition is made
group by group, the one with the highest task first, so each is made in exactly one way; there are 3^T pairs of a set
and a group, for each block.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.intp]


class PartitionTable:
    """V, and the best sum of f over partitions, for all sets of tasks, ``[2^T]``, and blocks.

    Attributes:
        within: W by branching point and set, ``[B + 1, 2^T]``.
        groups: f by block and set, ``[B, 2^T]``.
        best: The best sum of f over the partitions of a set, ``[B, 2^T]``.
    """

    def __init__(self, within: Floats, prices: Sequence[float]) -> None:
        self.within = within
        self.groups, self.best = np.empty((2, *within[:-1].shape))
        behind = within[-1]
        for block in reversed(range(len(prices))):
            self.groups[block] = behind - prices[block] - within[block]
            self.best[block] = _best_partitions(self.groups[block])
            behind = within[block] + self.best[block]
        self.top = float(behind[-1])
        """Score minus price of the best layout of all tasks."""


def within_sets(pairs: Floats) -> Floats:
    """Return the sum over the pairs of every set of tasks.

    Args:
        pairs: What tasks t and u count together if they part at b, symmetric: ``[T, T, B + 1]``.

    Returns:
        ``[B + 1, 2^T]``; bit t of a set is task t.

    >>> pairs = np.zeros((2, 2, 1))
    >>> pairs[0, 1] = pairs[1, 0] = 7
    >>> within_sets(pairs)
    array([[0., 0., 0., 7.]])
    """
    tasks, points = len(pairs), pairs.shape[2]
    found = np.zeros((points, 1 << tasks))
    for task in range(tasks):
        known = 1 << task
        # What this task counts with every set of the ones before it, doubled set by set.
        beside = np.zeros((points, known))
        for other in range(task):
            half = 1 << other
            beside[:, half : 2 * half] = beside[:, :half] + pairs[task, other][:, None]
        found[:, known : 2 * known] = found[:, :known] + beside
    return found


def _best_partitions(groups: Floats) -> Floats:
    """Return the best sum of what groups count, over the partitions of every set."""
    best = np.zeros(len(groups))
    for task in range(len(groups).bit_length() - 1):
        first, others, rests, starts = _with_highest(task)
        sums = groups[first + others] + best[rests]
        best[first : 2 * first] = np.maximum.reduceat(sums, starts)
    return best


@cache
def _with_highest(task: int) -> tuple[int, Whole, Whole, Whole]:
    """Return, for the sets whose highest task this is, all groups with it and the tasks that they leave.

    Returns:
        The task's bit; who else is in the group; who is left; and where the groups of each set begin.
    """
    others: list[int] = []
    rests: list[int] = []
    starts: list[int] = []
    for members in range(1 << task):
        starts.append(len(others))
        for part in subsets(members):
            others.append(part)
            rests.append(members ^ part)
    return 1 << task, np.array(others, np.intp), np.array(rests, np.intp), np.array(starts, np.intp)


def subsets(members: int) -> list[int]:
    """Return the subsets of a set of bits, from all of it down to none.

    >>> subsets(0b101)
    [5, 4, 1, 0]
    """
    found = [members]
    part = members
    while part:
        part = (part - 1) & members
        found.append(part)
    return found
