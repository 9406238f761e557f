"""Layouts in order of score minus price, one after the other, without making the others."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from trunkline.sharing.layouts.partition_table import PartitionTable, subsets


class _Way(NamedTuple):
    """One way to part a set of tasks at a block, with all that is behind it.

    Attributes:
        loss: The negative of what it counts, so that heaps have the best first.
        group: The group with the highest task.
        group_rank: Which of the ways of that group behind the block, from 0.
        rest_rank: Which of the ways to part the other tasks here, from 0.
    """

    loss: float
    group: int
    group_rank: int
    rest_rank: int


@dataclass(slots=True)
class _Ways:
    """The ways of a set at a block: those that are known, best first, and those that may come next."""

    known: list[_Way] = field(default_factory=list)
    next: list[_Way] = field(default_factory=list)


class RankedLayouts:
    """Yields layouts, the best first.

    Of every set and block only as many ways are made as are asked for, each from the best ones of what it consists of.
    The n-th best layout follows from the ones before it by putting one rank in one place one further.
    """

    def __init__(self, table: PartitionTable) -> None:
        self.table = table
        self.blocks = len(table.groups)
        self._ways: dict[tuple[int, int], _Ways] = {}

    def __iter__(self) -> Iterator[tuple[float, list[list[int]]]]:
        """Yield score minus price, and the groups of every block as sets of bits."""
        everyone = len(self.table.within[0]) - 1
        rank = 0
        while (value := self._value(0, everyone, rank)) is not None:
            blocks: list[list[int]] = [[] for _ in range(self.blocks)]
            self._write(0, everyone, rank, blocks)
            yield float(self.table.within[0][everyone]) + value, blocks
            rank += 1

    def _value(self, block: int, members: int, rank: int) -> float | None:
        """Return what the ``rank``-th way counts to part tasks that are together before a block, if there is one."""
        if not members or block == self.blocks:
            return 0.0 if rank == 0 else None
        if rank == 0:
            return float(self.table.best[block][members])
        way = self._way(block, members, rank)
        return None if way is None else -way.loss

    def _way(self, block: int, members: int, rank: int) -> _Way | None:
        ways = self._ways.get((block, members))
        if ways is None:
            ways = self._ways[block, members] = self._begin(block, members)
        while len(ways.known) <= rank:
            if not ways.next:
                return None
            way = heapq.heappop(ways.next)
            ways.known.append(way)
            self._follow(block, members, way, ways.next)
        return ways.known[rank]

    def _begin(self, block: int, members: int) -> _Ways:
        """Return the best way for every group that the highest task may be in."""
        table, highest = self.table, 1 << (members.bit_length() - 1)
        found = []
        for others in subsets(members ^ highest):
            group = highest | others
            value = table.groups[block][group] + table.best[block][members ^ group]
            found.append(_Way(-float(value), group, 0, 0))
        heapq.heapify(found)
        return _Ways(next=found)

    def _follow(self, block: int, members: int, way: _Way, heap: list[_Way]) -> None:
        """Add the ways that may come after one. Each way is added by exactly one other, so none comes twice."""
        self._add(block, members, way.group, way.group_rank, way.rest_rank + 1, heap)
        if way.rest_rank == 0:
            self._add(block, members, way.group, way.group_rank + 1, 0, heap)

    def _add(self, block: int, members: int, group: int, group_rank: int, rest_rank: int, heap: list[_Way]) -> None:
        inner = self._value(block + 1, group, group_rank)
        rest = self._value(block, members ^ group, rest_rank)
        if inner is None or rest is None:
            return
        # f of the group, with its way behind the block in place of the best one.
        best = self._value(block + 1, group, 0)
        value = float(self.table.groups[block][group]) + inner - (best or 0.0) + rest
        heapq.heappush(heap, _Way(-value, group, group_rank, rest_rank))

    def _write(self, block: int, members: int, rank: int, blocks: list[list[int]]) -> None:
        """Add the groups of a way, and of what is behind them."""
        if not members or block == self.blocks:
            return
        way = self._way(block, members, rank)
        if way is None:
            raise AssertionError("a way is written only after its value was asked for")
        blocks[block].append(way.group)
        self._write(block + 1, way.group, way.group_rank, blocks)
        self._write(block, members ^ way.group, way.rest_rank, blocks)
