"""Which tasks are trained together, in at most so many networks (Task-Grouping, Standley et al. 2020).

A task may be trained in several networks, and the best of them serves it; in the others it is there for its neighbours
alone. So of every network only the tasks that it serves matter for what it counts, and the best cover is the best
partition of the tasks into served sets S, each of which counts

    value(S) = max over groups G ⊇ S of  Σ_{t ∈ S} performance(t in G).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.partition_table import subsets
from trunkline.sharing.layouts.two_task_table import TwoTaskTable

Performance = Mapping[int, Sequence[float]]
"""By group, as a set of bits: what every task comes to in it; only those of its members count."""
MOST_TASKS = 12
"""3^T pairs of a group and a served set are looked at."""


@dataclass(frozen=True, slots=True)
class Network:
    """One of the networks.

    Attributes:
        trained: Who is trained in it.
        served: Who is delivered by it: some of those.
    """

    trained: tuple[str, ...]
    served: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskGroups:
    """The best cover.

    Attributes:
        networks: The networks, by their first served task.
        score: Sum over tasks of what each comes to in the network that serves it.
    """

    networks: tuple[Network, ...]
    score: float


def performance_of_pairs(table: TwoTaskTable) -> dict[int, list[float]]:
    """Return the approximation from pairs (HOA): a task in a group is the mean of it beside each other member.

    Pairs are those that share everything; a task alone is 0, which is what the table's numbers are against.
    """
    count = len(table.tasks)
    together = table.values[:, :, -1]
    found = {}
    for group in range(1, 1 << count):
        members = [task for task in range(count) if group >> task & 1]
        row = [0.0] * count
        for task in members:
            others = [float(together[task, other]) for other in members if other != task]
            row[task] = sum(others) / len(others) if others else 0.0
        found[group] = row
    return found


def best_groups(tasks: Sequence[str], performance: Performance, most: int) -> TaskGroups:
    """Return the cover with the greatest score of at most ``most`` networks, each of which costs one backbone.

    Args:
        tasks: Task names, in the order of the bits.
        performance: Of every group that may be trained; each task is in one at least.
        most: How many networks there may be.

    Raises:
        InvalidConfig: There are too many tasks, no network is allowed, or no cover is that small.
    """
    count = len(tasks)
    if count > MOST_TASKS:
        text = f"{count} tasks, and groups are found for {MOST_TASKS} at most"
        raise InvalidConfig(text, place="tasks", advice="leave some out")
    if most < 1:
        raise InvalidConfig(f"{most} networks", place="search.max_models", advice="allow one at least")
    values = _served_values(performance)
    everyone = (1 << count) - 1
    # best[n][S]: the best partition of S into at most n served sets.
    best: list[dict[int, tuple[float, tuple[int, ...]]]] = [{0: (0.0, ())}]
    for _ in range(min(most, count)):
        best.append({members: _best_partition(members, values, best[-1]) for members in range(1, everyone + 1)})
        best[-1][0] = (0.0, ())
    score, parts = best[-1][everyone]
    if score == float("-inf"):
        raise InvalidConfig(f"no {most} groups hold all tasks", place="search.max_models", advice="allow more networks")

    def named(group: int) -> tuple[str, ...]:
        return tuple(task for number, task in enumerate(tasks) if group >> number & 1)

    networks = [Network(named(values[part][1]), named(part)) for part in parts]
    return TaskGroups(tuple(sorted(networks, key=lambda network: tasks.index(network.served[0]))), score)


def _served_values(performance: Performance) -> dict[int, tuple[float, int]]:
    """Return the best value of every served set, and the group that has it; of equal ones the smallest group."""
    found: dict[int, tuple[float, int]] = {}
    for group in sorted(performance, key=lambda group: (group.bit_count(), group)):
        for served in subsets(group)[:-1]:
            value = sum(each for task, each in enumerate(performance[group]) if served >> task & 1)
            if served not in found or value > found[served][0]:
                found[served] = (value, group)
    return found


def _best_partition(
    members: int, values: Mapping[int, tuple[float, int]], smaller: Mapping[int, tuple[float, tuple[int, ...]]]
) -> tuple[float, tuple[int, ...]]:
    """Return the best partition of some tasks into a served set and at most one set less than there may be."""
    highest = 1 << (members.bit_length() - 1)
    best: tuple[float, tuple[int, ...]] = (float("-inf"), ())
    for others in subsets(members ^ highest):
        served, rest = highest | others, members ^ highest ^ others
        if served in values and rest in smaller:
            value = values[served][0] + smaller[rest][0]
            if value > best[0]:
                best = (value, (served, *smaller[rest][1]))
    return best
