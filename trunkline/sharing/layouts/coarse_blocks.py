"""Blocks of a backbone merged into fewer: a search over layouts has fewer places where tasks may part.

TreeMTL merges by hand (17 blocks of ResNet-34 into 5, 32 of MobileNetV2 into 5 "with similar computation cost", Sec.
4.1). Here that is done for any network and any cost, or a file says it: a JSON list of lists of block numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem
from trunkline.files.read import in_file, read_own
from trunkline.sharing.layouts.layout import Layout
from trunkline.text import escaped

CoarseBlocks = tuple[tuple[int, ...], ...]
"""Runs of consecutive block numbers; together all of them, from 0 on."""


def merged_alike(costs: Sequence[float], count: int) -> CoarseBlocks:
    """Return blocks merged into ``count`` runs whose costs are as much alike as runs can be.

    The sum of squares of the runs' costs is smallest; of several such ways, the one whose later runs are shorter.

    Args:
        costs: Of each block: MACs, parameters or milliseconds; none below 0.
        count: How many runs.

    Raises:
        InvalidConfig: There are fewer blocks than that, or none is asked for.

    >>> merged_alike([1, 1, 1, 3, 3], 3)
    ((0, 1, 2), (3,), (4,))
    """
    depth = len(costs)
    if not 1 <= count <= depth:
        text = f"{depth} blocks cannot be merged into {count}"
        raise InvalidConfig(text, place="blocks", advice=f"take a number from 1 to {depth}")
    before = [0.0]
    for cost in costs:
        before.append(before[-1] + cost)
    # best[n][e]: the smallest sum of squares of n runs that hold the first e blocks, and where the last run begins.
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for runs in range(1, count + 1):
        best.append(
            {
                end: min(
                    ((before[end] - before[start]) ** 2 + best[runs - 1][start][0], -start)
                    for start in range(runs - 1, end)
                    if start in best[runs - 1]
                )
                for end in range(runs, depth + 1)
            }
        )
    ends, end = [], depth
    for runs in range(count, 0, -1):
        ends.append(end)
        end = -best[runs][end][1]
    ends.append(0)
    return tuple(tuple(range(start, end)) for end, start in zip(ends[-2::-1], ends[:0:-1], strict=True))


def load_coarse_blocks(path: Path, depth: int) -> CoarseBlocks:
    """Read a list of lists of block numbers, such as ``[[0], [1, 2, 3], [4]]``, of a backbone with ``depth`` blocks.

    Raises:
        InvalidConfig: The file cannot be read, has another form, or its lists are not all blocks in order.
    """
    with in_file(path):
        try:
            content: Any = json.loads(read_own(path, "list of blocks"))
        except (ValueError, RecursionError) as error:  # brackets nested deep enough exhaust json's stack
            raise InvalidConfig(f"cannot read the list of blocks: {error}") from error
        if not isinstance(content, list) or not all(_is_run(run) for run in content):
            text = "it is not a list of lists of block numbers"
            raise InvalidConfig(text, advice="for example [[0], [1, 2, 3], [4]]")
        return checked_blocks(content, depth)


def checked_blocks(runs: Sequence[Sequence[int]], depth: int) -> CoarseBlocks:
    """Return runs of block numbers, if they are all blocks in order.

    Raises:
        InvalidConfig: They are not.
    """
    numbers = [number for run in runs for number in run]
    unknown = [number for number in numbers if not 0 <= number < depth]
    problems = [
        Problem(f"there is no block {number}", advice=f"blocks are numbered 0 to {depth - 1}") for number in unknown
    ]
    if not problems and (numbers != list(range(depth)) or not all(runs)):
        text = (
            f"{escaped(str([list(run) for run in runs]))} are not the blocks 0 to {depth - 1}, each once and in order"
        )
        problems.append(Problem(text, advice="`inspect` lists them"))
    if problems:
        raise InvalidConfig(problems)
    return tuple(tuple(run) for run in runs)


def expanded(layout: Layout, blocks: CoarseBlocks) -> Layout:
    """Return a layout of merged blocks as one of the backbone's own."""
    levels = zip(layout.blocks, blocks, strict=True)
    return Layout(layout.tasks, tuple(groups for groups, run in levels for _ in run))


def condensed(layout: Layout, blocks: CoarseBlocks) -> Layout | None:
    """Return a layout of a backbone's own blocks as one of merged blocks; ``None`` if tasks part inside of one.

    >>> condensed(Layout.all_shared(["a", "b"], 3).cut(2, ["b"]), ((0, 1), (2,))).blocks
    ((('a', 'b'),), (('a',), ('b',)))
    """
    found = Layout(layout.tasks, tuple(layout.blocks[run[0]] for run in blocks))
    return found if expanded(found, blocks) == layout else None


def merged_costs(costs: Sequence[float], blocks: CoarseBlocks) -> list[float]:
    """Return what merged blocks cost."""
    return [sum(costs[number] for number in run) for run in blocks]


def _is_run(content: object) -> bool:
    return isinstance(content, list) and all(
        isinstance(number, int) and not isinstance(number, bool) for number in content
    )
