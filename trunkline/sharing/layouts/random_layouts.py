"""Trees by chance: early and late partings, few and many, to try out what is said of trees in general."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.counting import count_layouts
from trunkline.sharing.layouts.layout import Layout

_MOST_DRAWS = 1000
"""How often each layout is drawn at most, where the last ones are rare."""


def random_layouts(tasks: Sequence[str], depth: int, count: int, seed: int) -> list[Layout]:
    """Return ``count`` different layouts of ``depth`` blocks, drawn by a seed.

    A group of tasks parts in two at a block that is drawn evenly, or never, and so do its parts behind it. They are not
    evenly drawn among all layouts, most of which part everything in the first blocks.

    Raises:
        InvalidConfig: There are not so many.

    >>> [len(layout.blocks[-1]) for layout in random_layouts(["a", "b", "c"], 4, 5, seed=0)]
    [1, 3, 2, 2, 3]
    """
    there_are = count_layouts(len(tasks), depth)
    if count > there_are:
        text = f"{count} layouts are to be drawn, and {len(tasks)} tasks have {there_are} over {depth} blocks"
        raise InvalidConfig(text, place="layouts", advice="ask for fewer, or name more tasks")
    generator = np.random.default_rng(seed)
    found: dict[Layout, None] = {}
    for _ in range(_MOST_DRAWS * count):
        found[_drawn(tuple(tasks), depth, generator)] = None
        if len(found) == count:
            break
    if len(found) < count:
        text = f"only {len(found)} of {there_are} layouts were drawn"
        raise InvalidConfig(text, place="layouts", advice="ask for fewer")
    return list(found)


def _drawn(tasks: tuple[str, ...], depth: int, generator: np.random.Generator) -> Layout:
    # Each parting: the group, the block from which on it is two, and these.
    blocks: list[list[tuple[str, ...]]] = [[tasks] for _ in range(depth)]
    for group, block, parts in _partings(tasks, 0, depth, generator):
        for groups in blocks[block:]:
            groups.remove(group)
            groups.extend(parts)
    return Layout.of(tasks, blocks)


_Parting = tuple[tuple[str, ...], int, list[tuple[str, ...]]]


def _partings(group: tuple[str, ...], start: int, depth: int, generator: np.random.Generator) -> Iterator[_Parting]:
    """Yield partings of a group from block ``start`` on, each before those of its parts."""
    block = int(generator.integers(start, depth + 1))
    if len(group) == 1 or block == depth:
        return
    shuffled = [group[place] for place in generator.permutation(len(group))]
    middle = int(generator.integers(1, len(group)))
    parts = [tuple(shuffled[:middle]), tuple(shuffled[middle:])]
    yield group, block, parts
    for part in parts:
        yield from _partings(part, block, depth, generator)
