"""How alike tasks see images: representation similarity, block by block (What-to-Share, Vandenhende et al. 2019).

A single-task model's features of K images are compared by 1 minus Pearson's correlation, image with image: a matrix
``[K, K]`` (RDM). Two tasks are the more alike in a block, the more their matrices agree: Spearman's correlation of the
numbers below the diagonal. A tree costs, in each block, the mean over groups of the largest 1 − affinity of two tasks
in a group; one task alone costs nothing. So the cheapest tree of all shares nothing, and a budget is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from trunkline.sharing.layouts.enumeration import Masks

Floats = NDArray[np.float64]


def dissimilarities(features: Floats) -> Floats:
    """Return 1 minus the correlation of every two images' features: ``[K, K]`` of ``[K, …]``.

    Features that are one number for an image correlate with nothing: their rows are 1 beside the diagonal.
    """
    flat = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0)
    found: Floats = 1.0 - unit @ unit.T
    np.fill_diagonal(found, 0.0)
    return found


def affinity(one: Floats, other: Floats) -> float:
    """Return Spearman's correlation of two such matrices, below the diagonal; 0 where one of them is flat.

    >>> matrix = dissimilarities(np.random.default_rng(0).normal(size=(6, 9)))
    >>> round(affinity(matrix, matrix), 9)
    1.0
    """
    below = np.tril_indices(len(one), k=-1)
    ranks = [rankdata(matrix[below]) for matrix in (one, other)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = np.linalg.norm(centred[0]) * np.linalg.norm(centred[1])
    return float(centred[0] @ centred[1] / scale) if scale else 0.0


def block_affinities(features: Mapping[str, Sequence[Floats | None]], tasks: Sequence[str]) -> Floats:
    """Return the affinity of every two tasks in every block: ``[B, T, T]``, with 1 on the diagonals.

    Args:
        features: By task, for each block, features of the same images in the same order; ``None`` where a task does not
            run a block, because its head reads an earlier map: there it differs from nobody.
        tasks: Task names, in output order.
    """
    blocks = len(features[tasks[0]])
    found = np.ones((blocks, len(tasks), len(tasks)))
    for block in range(blocks):
        own = [features[task][block] for task in tasks]
        matrices = [None if seen is None else dissimilarities(seen) for seen in own]
        for (one, first), (other, second) in combinations(enumerate(matrices), 2):
            if first is not None and second is not None:
                found[block, one, other] = found[block, other, one] = affinity(first, second)
    return found


def partition_cost(groups: Masks, affinities: Floats) -> float:
    """Return what a partition of the tasks costs in a block, by the affinities there: ``[T, T]``."""
    worst = []
    for group in groups:
        members = [task for task in range(len(affinities)) if group >> task & 1]
        worst.append(max((1.0 - affinities[pair] for pair in combinations(members, 2)), default=0.0))
    return sum(worst) / len(worst)
