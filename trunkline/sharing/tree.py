"""Which tasks share a unit's weights, and the tree that a plan is where tasks which have parted never share again.

It reads a plan's entries alone, without its backbone: units are in the order of the plan, which is the order in which
they run. Of a plan whose units are blocks, which form a chain, the tree is also what is executed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

Entries = Mapping[str, Mapping[str, object]]
"""What each task runs, by unit and task, as a plan's file has it."""
Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """Units in a row that the same tasks run together.

    Attributes:
        tasks: Who runs them, in output order.
        first: Number of its first unit.
        end: Number of the unit behind its last one.
        parent: Number of the branch that it goes on from; ``None`` where it reads the image.
        skipped: Numbers of the units that it skips.
    """

    tasks: tuple[str, ...]
    first: int
    end: int
    parent: int | None
    skipped: tuple[int, ...] = ()


def sharing_groups(units: Entries, tasks: Sequence[str], *, tie: bool) -> list[Groups]:
    """Return, for every unit, the groups of tasks that run one set of its weights; who skips it is in none.

    >>> units = {"conv1": {"a": 0, "b": 0, "c": 1}, "conv2": {"a": 0, "b": "skip", "c": 0}}
    >>> sharing_groups(units, ["a", "b", "c"], tie=True)
    [(('a', 'b'), ('c',)), (('a', 'c'),)]
    >>> sharing_groups(units, ["a", "b", "c"], tie=False)
    [(('a', 'b'), ('c',)), (('a',), ('c',))]
    """
    found = []
    for row, ways in zip(units.values(), _ways(units, tasks), strict=True):
        runs = [task for task in tasks if row[task] != "skip"]
        # Where nothing is tied, an instance that gets another input is another set of weights.
        keys = {task: instance_of(row[task]) if tie else (ways[task], instance_of(row[task])) for task in runs}
        found.append(_grouped(runs, keys))
    return found


def branches_of(units: Entries, tasks: Sequence[str], *, tie: bool) -> tuple[Branch, ...] | None:
    """Return the tree of a plan, parents first; ``None`` where tasks share weights after they have parted.

    >>> units = {"conv1": {"a": 0, "b": 0}, "conv2": {"a": 0, "b": 1}, "conv3": {"a": 0, "b": 1}}
    >>> for branch in branches_of(units, ["a", "b"], tie=True):
    ...     print(branch.tasks, branch.first, branch.end, branch.parent)
    ('a', 'b') 0 1 None
    ('a',) 1 3 0
    ('b',) 1 3 0
    >>> units["conv3"]["b"] = 0
    >>> branches_of(units, ["a", "b"], tie=True) is None
    True
    """
    together = [_grouped(tasks, ways) for ways in _ways(units, tasks, after=True)]
    for groups, shared in zip(together, sharing_groups(units, tasks, tie=tie), strict=True):
        if not all(any(set(users) <= set(group) for group in groups) for users in shared):
            return None
    return _branches(together, list(units.values()))


def instance_of(choice: object) -> object:
    """Return whose weights an entry of a plan runs: a channel view runs those of its instance."""
    return choice["instance"] if isinstance(choice, Mapping) else choice


def _ways(units: Entries, tasks: Sequence[str], *, after: bool = False) -> list[dict[str, tuple[object, ...]]]:
    """Return, for every unit, what each task has run before it, or up to and including it."""
    ways: dict[str, tuple[object, ...]] = dict.fromkeys(tasks, ())
    found = []
    for row in units.values():
        before = ways
        ways = {task: (*ways[task], _frozen(row[task])) for task in tasks}
        found.append(ways if after else before)
    return found


def _frozen(choice: object) -> object:
    return tuple(sorted(choice.items())) if isinstance(choice, Mapping) else choice


def _grouped(tasks: Iterable[str], keys: Mapping[str, object]) -> Groups:
    groups: dict[object, list[str]] = {}
    for task in tasks:
        groups.setdefault(keys[task], []).append(task)
    return tuple(map(tuple, groups.values()))


def _branches(together: Sequence[Groups], rows: Sequence[Mapping[str, object]]) -> tuple[Branch, ...]:
    branches: list[Branch] = []
    before: dict[tuple[str, ...], int] = {}
    for number, (groups, row) in enumerate(zip(together, rows, strict=True)):
        current: dict[tuple[str, ...], int] = {}
        for tasks in groups:
            if tasks not in before:
                parent = next((index for others, index in before.items() if tasks[0] in others), None)
                branches.append(Branch(tasks, number, number, parent))
            current[tasks] = before.get(tasks, len(branches) - 1)
            known = branches[current[tasks]]
            skipped = (*known.skipped, number) if row[tasks[0]] == "skip" else known.skipped
            branches[current[tasks]] = replace(known, end=number + 1, skipped=skipped)
        before = current
    return tuple(branches)
