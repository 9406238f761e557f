"""How many layouts there are, without making one."""

from __future__ import annotations

from functools import cache
from math import comb


@cache
def count_layouts(tasks: int, blocks: int) -> int:
    """Return the number of distinct layouts of so many tasks and blocks.

    The group of the first task in the first block is one of C(n-1, k-1) of size k; behind it lies any layout of k tasks
    and one block less, beside it any of the n-k others. So layouts of B blocks are chains of B partitions, each finer
    than the one before; with one block these are Bell's numbers.

    >>> [count_layouts(tasks, 5) for tasks in (2, 3, 4, 5)]
    [6, 51, 561, 7556]
    """
    if tasks == 0 or blocks == 0:
        return 1
    sizes = range(1, tasks + 1)
    return sum(
        comb(tasks - 1, size - 1) * count_layouts(size, blocks - 1) * count_layouts(tasks - size, blocks)
        for size in sizes
    )
