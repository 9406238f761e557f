"""Trees by which images tasks find hard alike (FAFS, Lu et al. 2017; the version that BMTAS's authors compare with).

A task finds an image hard if its error there is above the task's mean. Two tasks are the more alike, the more often
they agree: A_ij = E[e_i e_j + (1 − e_i)(1 − e_j)], with e = 1 for hard. From the heads towards the image, the branches
of one block are grouped for the block before it. A grouping into d branches costs

    L = (d − 1) · 2^p + α · (1 − mean over groups of mean_{k in group} min_{l in group} A(k, l)),

p the number of times that the map is halved between this block and the last, so branches cost more near the image. The
affinity of two branches is the mean over tasks of one of the smallest affinity to tasks of the other, made symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trunkline.sharing.layouts.enumeration import Masks, named
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.least_dissimilar import merged_groups

Floats = NDArray[np.float64]


def task_affinities(errors: Floats) -> Floats:
    """Return how often every two tasks find the same images hard: ``[T, T]`` of errors ``[T, images]``.

    An image without a label for a task is left out of its mean, and of all of its pairs.

    >>> task_affinities(np.array([[1.0, 2.0, 9.0, 8.0], [6.0, 1.0, 7.0, 8.0]]))
    array([[1.  , 0.75],
           [0.75, 1.  ]])
    """
    known = ~np.isnan(errors)
    counts = known.sum(axis=1, keepdims=True)
    means = np.where(known, errors, 0.0).sum(axis=1, keepdims=True) / np.maximum(counts, 1)
    hard = np.where(known, errors, -np.inf) >= means
    tasks = len(errors)
    found = np.ones((tasks, tasks))
    for one in range(tasks):
        for other in range(tasks):
            both = known[one] & known[other]
            if one != other:
                found[one, other] = (hard[one, both] == hard[other, both]).mean() if both.any() else 0.0
    return found


def branch_affinity(one: Sequence[int], other: Sequence[int], affinities: Floats) -> float:
    """Return how alike two branches are, by the tasks that are in them."""
    among = affinities[np.ix_(one, other)]
    return float((among.min(axis=1).mean() + among.min(axis=0).mean()) / 2)


Branches = Sequence[Sequence[int]]
"""Of a group, the tasks of each of its branches."""


def grouping_cost(groups: Sequence[Branches], affinities: Floats, halvings: float, alpha: float) -> float:
    """Return L of branches that are grouped.

    Args:
        groups: For each group, the branches in it, each as its tasks.
        affinities: Of every two tasks.
        halvings: p.
        alpha: α.
    """
    alike = []
    for group in groups:
        rows = [min(branch_affinity(branch, other, affinities) for other in group) for branch in group]
        alike.append(sum(rows) / len(rows))
    return float((len(groups) - 1) * 2.0**halvings + alpha * (1 - sum(alike) / len(alike)))


def grown_layout(tasks: Sequence[str], affinities: Floats, halvings: Sequence[float], alpha: float) -> Layout:
    """Return the tree that is grouped block by block, from the last to the first.

    Args:
        tasks: Task names, in output order.
        affinities: Of every two tasks.
        halvings: p of every block, the first block first.
        alpha: α.
    """
    groups: Masks = tuple(1 << number for number in range(len(tasks)))
    blocks: list[Masks] = []
    for p in reversed(halvings):
        branches = groups

        def cost(merged: Masks, branches: Masks = branches, p: float = p) -> tuple[float, Masks]:
            members = [[_members(branch) for branch in branches if branch & group] for group in merged]
            return grouping_cost(members, affinities, p, alpha), merged

        # The best grouping of all, where the paper tries one of each size by spectral clustering.
        groups = min(merged_groups(branches), key=cost)
        blocks.insert(0, groups)
    return Layout(tuple(tasks), tuple(named(groups, tasks) for groups in blocks))


def _members(group: int) -> list[int]:
    return [number for number in range(group.bit_length()) if group >> number & 1]
