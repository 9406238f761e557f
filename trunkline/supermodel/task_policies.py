"""What a learned policy says of each task, and how alike the policies of two tasks are.

AutoMTL (Zhang et al. 2022, supplement G and Fig. 7) takes the cosine of two tasks' policies for their correlation. Over
the options k of all units l at which both tasks have some, with π the probabilities:

    corr(s, t) = Σ_l Σ_k π_l^s(k) π_l^t(k) / (‖π^s‖ ‖π^t‖)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]
"""Of each option, ``[units, T, options]``; zeros where a task has no option at a unit."""


def ways_of_tasks(chosen: Probabilities) -> Probabilities:
    """Return the probability that each task comes by each node, where it is nodes that choose.

    Args:
        chosen: What node k of the next unit chooses at a unit, and behind the last unit the head of task k,
            ``[units, T, T]``. A task's way is a Markov chain from its head back to the image.

    >>> first, last = [[1.0, 0.0], [0.25, 0.75]], [[0.5, 0.5], [0.0, 1.0]]
    >>> ways_of_tasks(np.array([first, last])).tolist()
    [[[0.625, 0.375], [0.25, 0.75]], [[0.5, 0.5], [0.0, 1.0]]]
    """
    ways = [chosen[-1]]
    for choices in chosen[-2::-1]:
        ways.append(ways[-1] @ choices)
    return np.stack(ways[::-1])


def task_correlation(p: Probabilities) -> list[list[float | None]]:
    """Return the cosine of the policies of each pair of tasks, from 0 to 1; ``None`` where they have no unit in common.

    >>> both, one = [0.5, 0.5], [1.0, 0.0]
    >>> [round(cosine, 3) for cosine in task_correlation(np.array([[both, both, one]]))[0]]
    [1.0, 1.0, 0.707]
    """
    tasks = range(p.shape[1])
    return [[_cosine(p[:, one], p[:, other]) for other in tasks] for one in tasks]


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    common = one.any(axis=1) & other.any(axis=1)
    a, b = one[common].ravel(), other[common].ravel()
    if not len(a):
        return None
    # Rounding may leave a cosine a little above 1.
    return min(1.0, float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
