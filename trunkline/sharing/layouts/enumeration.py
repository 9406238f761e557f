"""Every layout of some tasks and blocks, numbered as TreeMTL's paper numbers them (Algorithm 2).

Layout #0 shares everything. A layout is cut at every block that is still open, the earliest first; there, each group in
the order in which groups came to be; and a group {a, b, c, …} first so that all but ``a`` leave it, then ever fewer, as
a binary number over its other members counts down. Those that leave, and behind them those that stay, go to the end of
the list of groups. A cut at block i leaves the blocks from i on open. Layouts are numbered as they are come to, depth
first; one that was met before is neither numbered nor cut again.

So #1 parts the first task from all others at the first block, and the last number is of the layout in which only the
last task has a block of its own, the last one. Numbers depend on the order of the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.counting import count_layouts
from trunkline.sharing.layouts.layout import Layout, Partition

MOST_LAYOUTS = 300_000
"""More are not enumerated: the best of them are found without."""

Masks = tuple[int, ...]
"""Groups of tasks as sets of bits: task i is in a group if bit i is set."""


@dataclass(frozen=True)
class Enumeration:
    """All layouts of some tasks and blocks, in order of their numbers.

    Attributes:
        tasks: Task names, in the order that decides the numbers.
        partitions: Every partition of the tasks that occurs.
        codes: Number of the partition of each block, by layout: ``[layouts, blocks]``.
    """

    tasks: tuple[str, ...]
    partitions: tuple[Masks, ...]
    codes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.codes)

    def layout(self, number: int) -> Layout:
        """Return the layout with a number."""
        return Layout(self.tasks, tuple(self._named[code] for code in self.codes[number]))

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """How many groups there are in each block, by layout: ``[layouts, blocks]``."""
        sizes = np.array([len(partition) for partition in self.partitions])
        counts: NDArray[np.int64] = sizes[self.codes]
        return counts

    def branching_points(self) -> NDArray[np.int64]:
        """Return the first block in which two tasks are apart, by layout and pair in order: ``[layouts, pairs]``."""
        pairs = list(combinations(range(len(self.tasks)), 2))
        together = np.array([[_together(partition, *pair) for pair in pairs] for partition in self.partitions], bool)
        # Tasks that have parted are never together again, so counting the blocks in which they are is enough.
        counts: NDArray[np.int64] = together.reshape(len(self.partitions), len(pairs))[self.codes].sum(axis=1)
        return counts

    @cached_property
    def _named(self) -> list[Partition]:
        return [named(partition, self.tasks) for partition in self.partitions]


def enumerate_layouts(tasks: Sequence[str], blocks: int) -> Enumeration:
    """Return all layouts of these tasks and so many blocks.

    Raises:
        InvalidConfig: There are more than :data:`MOST_LAYOUTS`.

    >>> found = enumerate_layouts(["a", "b", "c"], 5)
    >>> len(found), found.layout(50).blocks[-2:]
    (51, ((('a', 'b', 'c'),), (('a', 'b'), ('c',))))
    """
    count = count_layouts(len(tasks), blocks)
    if count > MOST_LAYOUTS:
        text = f"{len(tasks)} tasks and {blocks} blocks have {count:,} layouts, more than {MOST_LAYOUTS:,}"
        raise InvalidConfig(text, advice="merge blocks")
    walk = _Walk(blocks)
    walk.visit((), ((1 << len(tasks)) - 1,))
    codes = np.array(list(walk.met), dtype=np.int32).reshape(len(walk.met), blocks)
    return Enumeration(tuple(tasks), tuple(walk.partitions), codes)


class _Walk:
    """Algorithm 2, with what was met before in a dictionary, and ways to part a list of groups remembered."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.met: dict[tuple[int, ...], None] = {}
        self.partitions: dict[Masks, int] = {}
        self._cuts: dict[Masks, list[Masks]] = {}

    def visit(self, before: tuple[int, ...], groups: Masks) -> None:
        """Number the layout that has ``groups`` in every block behind ``before``, if it is new, and then its cuts."""
        code = self._number(groups)
        layout = before + (code,) * (self.blocks - len(before))
        if layout in self.met:
            return
        self.met[layout] = None
        cuts = self._cuts_of(groups)
        if not cuts:
            return
        for block in range(len(before), self.blocks):
            for others in cuts:
                self.visit(layout[:block], others)

    def _number(self, groups: Masks) -> int:
        return self.partitions.setdefault(tuple(sorted(groups, key=_first_member)), len(self.partitions))

    def _cuts_of(self, groups: Masks) -> list[Masks]:
        if groups not in self._cuts:
            self._cuts[groups] = [
                (*groups[:place], *groups[place + 1 :], *parts)
                for place, group in enumerate(groups)
                for parts in _parts_of(group)
            ]
        return self._cuts[groups]


def _parts_of(group: int) -> list[tuple[int, int]]:
    """Return the ways to part a group, as who leaves and who stays, in the paper's order."""
    _, *others = [1 << number for number in range(group.bit_length()) if group >> number & 1]
    found = []
    for leaves in product((True, False), repeat=len(others)):
        moved = sum(member for member, leaving in zip(others, leaves, strict=True) if leaving)
        if moved:
            found.append((moved, group ^ moved))
    return found


def named(groups: Masks, tasks: Sequence[str]) -> Partition:
    """Return groups of bits as groups of names, in canonical order."""
    ordered = sorted(groups, key=_first_member)
    return tuple(tuple(task for number, task in enumerate(tasks) if group >> number & 1) for group in ordered)


def _first_member(group: int) -> int:
    return group & -group


def _together(groups: Masks, task: int, other: int) -> bool:
    both = 1 << task | 1 << other
    return any(group & both == both for group in groups)
