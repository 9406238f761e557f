"""A TreeMTL layout: which tasks are together in each block (Zhang, Liu, Guan 2022, Sec. 3.1 and App. B–C)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from trunkline.errors import InvalidConfig, Problem
from trunkline.text import escaped, quoted

Group = tuple[str, ...]
Partition = tuple[Group, ...]
"""Groups of tasks that run a block together."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A tree: one partition of the tasks for each block, none of which joins what an earlier one has parted.

    It is canonical: tasks stand in output order within a group, and groups by their first task. So two layouts are
    equal if and only if they are the same tree, and a layout can be a key.

    Attributes:
        tasks: Task names, in output order.
        blocks: For each block, from the image on, its groups.

    >>> tree = Layout.of(["a", "b", "c"], [[["c", "b", "a"]], [["b"], ["c", "a"]]])
    >>> tree.blocks
    ((('a', 'b', 'c'),), (('a', 'c'), ('b',)))
    >>> tree.branching_point("a", "b"), tree.branching_point("a", "c")
    (1, 2)
    """

    tasks: tuple[str, ...]
    blocks: tuple[Partition, ...]

    @classmethod
    def of(cls, tasks: Sequence[str], blocks: Sequence[Iterable[Collection[str]]]) -> Layout:
        """Return the layout with these groups, in any order.

        Raises:
            InvalidConfig: There is no block, a block does not hold each task once, or one joins tasks that the block
                before separated.
        """
        order = {task: number for number, task in enumerate(tasks)}
        given = [[list(group) for group in groups] for groups in blocks]
        problems = _problems_of(tasks, given)
        if problems:
            raise InvalidConfig(problems)
        return cls(tuple(tasks), tuple(_canonical(groups, order) for groups in given))

    @classmethod
    def all_shared(cls, tasks: Sequence[str], depth: int) -> Layout:
        """Return the layout of one model for all tasks, of ``depth`` blocks: #0 in the paper's numbering."""
        return cls.of(tasks, [[list(tasks)]] * depth)

    @classmethod
    def independent(cls, tasks: Sequence[str], depth: int) -> Layout:
        """Return the layout of one model for each task, of ``depth`` blocks."""
        return cls.of(tasks, [[[task] for task in tasks]] * depth)

    def branching_point(self, task: str, other: str) -> int:
        """Return the first block in which two tasks are apart; the number of blocks if they never are."""
        for number, groups in enumerate(self.blocks):
            if not any(task in group and other in group for group in groups):
                return number
        return len(self.blocks)

    def two_task(self, task: str, other: str) -> Layout:
        """Return the layout of two of the tasks that are together as long as here (Algorithm 1).

        >>> Layout.of(["a", "b", "c"], [[["a", "b", "c"]], [["a", "c"], ["b"]]]).two_task("b", "c").blocks
        ((('b', 'c'),), (('b',), ('c',)))
        """
        until = self.branching_point(task, other)
        pair = [name for name in self.tasks if name in (task, other)]
        apart = len(self.blocks) - until
        return Layout.of(pair, [[pair]] * until + [[[name] for name in pair]] * apart)

    def cut(self, block: int, moved: Collection[str]) -> Layout:
        """Return the layout in which ``moved`` leave their group at ``block`` and behind it (Definition C.2).

        Args:
            block: Number of a block from which on the partition is the same in every block, so an *available* one.
            moved: Some, not all, of the tasks of one group there.

        Raises:
            InvalidConfig: The block is not available, or ``moved`` are not a part of one of its groups.

        >>> Layout.all_shared(["a", "b", "c"], 2).cut(1, ["b"]).blocks
        ((('a', 'b', 'c'),), (('a', 'c'), ('b',)))
        """
        if not 0 <= block < len(self.blocks) or len(set(self.blocks[block:])) > 1:
            text = f"block {block} is no place for a cut: behind it tasks part already"
            raise InvalidConfig(text, advice="cut from the image on")
        part = set(moved)
        whole = next((set(group) for group in self.blocks[block] if part < set(group)), None)
        if not part or whole is None:
            text = f"{escaped(', '.join(sorted(part)))} is no part of a group of block {block}"
            raise InvalidConfig(text, advice="give some of the tasks of one group, not all")
        others = [group for group in self.blocks[block] if set(group) != whole]
        groups = [*others, part, whole - part]
        return Layout.of(self.tasks, [*self.blocks[:block], *[groups] * (len(self.blocks) - block)])

    def as_lists(self) -> list[list[list[str]]]:
        """Return the layout as its JSON file has it."""
        return [[list(group) for group in groups] for groups in self.blocks]


def _canonical(groups: Sequence[Sequence[str]], order: dict[str, int]) -> Partition:
    inner = [tuple(sorted(group, key=order.__getitem__)) for group in groups]
    return tuple(sorted(inner, key=lambda group: order[group[0]]))


def _problems_of(tasks: Sequence[str], blocks: Sequence[Sequence[Sequence[str]]]) -> list[Problem]:
    if not blocks:
        return [Problem("the layout has 0 entries", "layout", advice="it has one for each block")]
    repeated = sorted({task for task in tasks if list(tasks).count(task) > 1})
    if repeated:
        return [Problem(f"task {quoted(repeated[0])} is named more than once", "layout")]
    problems: list[Problem] = []
    for number, groups in enumerate(blocks):
        place = f"layout[{number}]"
        members = [task for group in groups for task in group]
        if sorted(members) != sorted(tasks) or not all(groups):
            text = f"block {number} must hold each task once, has {escaped(str(groups))}"
            problems.append(Problem(text, place))
        # Only where all blocks before are partitions: a block cannot refine what is none.
        elif number and not problems and not _refines(groups, blocks[number - 1]):
            text = f"block {number} joins tasks that block {number - 1} separated"
            problems.append(Problem(text, place))
    return problems


def _refines(fine: Sequence[Sequence[str]], coarse: Sequence[Sequence[str]]) -> bool:
    """Whether every group of ``fine`` lies within one of ``coarse``, which makes the layout a tree."""
    return all(any(set(group) <= set(whole) for whole in coarse) for group in fine)
