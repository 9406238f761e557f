"""What an exported multi-task model executes: by unit, who runs it together, from what its nodes record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.errors import TrunklineError
from trunkline.graph.cost import node_costs
from trunkline.graph.graph import (
    HEAD,
    INSTANCE_KEY,
    JOIN,
    PART_KEY,
    TASKS_KEY,
    UNIT_KEY,
    Graph,
    data_inputs_of,
    name_of,
)

_HEADS, _JOINS, _FIRST = "heads", "joins after ", "before the first unit"


@dataclass(frozen=True, slots=True)
class ExecutedPart:
    """Nodes of one unit that the same tasks need: each is executed once.

    Attributes:
        row: Number of its row, which is that of its unit.
        tasks: Who needs it, in output order.
        instance: Whose weights it runs; empty where it has none.
        operators: What it holds, counted.
        macs: Its multiply-accumulates; ``None`` where they cannot be counted.
    """

    row: int
    tasks: tuple[str, ...]
    instance: str
    operators: Mapping[str, int]
    macs: int | None


@dataclass(frozen=True, slots=True)
class Executed:
    """A multi-task model as what is executed for whom.

    Attributes:
        tasks: The tasks, in an order in which those that share more stand beside each other.
        rows: What stands at each row: units from the image on, then heads.
        parts: What is executed.
        arrows: Which part reads which other one: numbers of the one that is read and of the one that reads.
    """

    tasks: tuple[str, ...]
    rows: tuple[str, ...]
    parts: tuple[ExecutedPart, ...]
    arrows: tuple[tuple[int, int], ...]


def executed_of(graph: Graph) -> Executed | None:
    """Return what a multi-task model executes; ``None`` where its nodes do not say for whom they are.

    >>> from trunkline.ingest.read import read
    >>> executed_of(read("zoo:tiny")) is None
    True
    """
    tasks = tuple(name_of(output) for output in graph.outputs)
    if not all(node.metadata_props.get(TASKS_KEY) for node in graph.nodes):
        return None
    places = _places(graph)
    rows = _rows(graph, places)
    members: dict[_Place, list[ir.Node]] = {}
    for node in graph.nodes:
        members.setdefault(places[name_of(node)], []).append(node)
    costs = _costs(graph)
    parts = tuple(
        ExecutedPart(
            rows.index(place.row),
            tuple(task for task in tasks if task in place.tasks),
            place.instance,
            Counter(node.op_type for node in nodes),
            None if costs is None else sum(costs[name_of(node)] for node in nodes),
        )
        for place, nodes in members.items()
    )
    numbers = {place: number for number, place in enumerate(members)}
    return Executed(_ordered(tasks, parts), rows, parts, _arrows(graph, places, numbers))


@dataclass(frozen=True, slots=True)
class _Place:
    """To which part a node belongs: nodes of equal places are one part."""

    row: str
    tasks: frozenset[str]
    instance: str


def _places(graph: Graph) -> dict[str, _Place]:
    """Return where each node stands: an activation or a sum stands with the unit that it follows."""
    found: dict[str, _Place] = {}
    made: dict[str, _Place] = {}
    order: dict[str, int] = {}
    for node in graph.nodes:
        users = frozenset(node.metadata_props[TASKS_KEY].split(","))
        before = [made[name] for name in map(name_of, data_inputs_of(node)) if name in made]
        # Of several that come before, the latest: behind a shortcut a sum ends its block.
        latest = max(before, key=lambda place: order[place.row], default=_Place(_FIRST, users, ""))
        row = _row_of(node, latest.row)
        is_same = latest.row == row and latest.tasks == users
        instance = node.metadata_props.get(INSTANCE_KEY) or (latest.instance if is_same else "")
        order.setdefault(row, len(order))
        found[name_of(node)] = _Place(row, users, instance)
        made |= {name_of(value): found[name_of(node)] for value in node.outputs}
    return found


def _row_of(node: ir.Node, before: str) -> str:
    part = node.metadata_props.get(PART_KEY)
    if part == HEAD:
        return _HEADS
    if part == JOIN:
        return before if before.startswith(_JOINS) else f"{_JOINS}{before}"
    return node.metadata_props.get(UNIT_KEY) or before


def _rows(graph: Graph, places: Mapping[str, _Place]) -> tuple[str, ...]:
    """Return the rows, so that each comes behind those that it is read from, as far as they are units."""
    before: dict[str, set[str]] = {}
    made = {name_of(value): places[name_of(node)].row for node in graph.nodes for value in node.outputs}
    for node in graph.nodes:
        row = places[name_of(node)].row
        read = {made[name] for name in map(name_of, data_inputs_of(node)) if name in made} - {row}
        before.setdefault(row, set()).update(read)
    ordered: list[str] = []
    waiting = [row for row in before if row != _HEADS]
    while waiting:
        # One whose predecessors are all there; where units read each other in a circle, the first that is left.
        ready = next((row for row in waiting if before[row] <= set(ordered)), waiting[0])
        ordered.append(ready)
        waiting.remove(ready)
    return (*ordered, _HEADS) if _HEADS in before else tuple(ordered)


def _costs(graph: Graph) -> dict[str, int] | None:
    try:
        return {name: cost.macs for name, cost in node_costs(graph).items()}
    except TrunklineError:  # an operator that nobody can count: the drawing needs no number
        return None


def _ordered(tasks: Sequence[str], parts: Sequence[ExecutedPart]) -> tuple[str, ...]:
    """Return the tasks so that those who run together longer stand beside each other."""
    order = list(tasks)
    # From the heads back to the image, so that the earliest rows, which most tasks share, decide last.
    for row in sorted({part.row for part in parts}, reverse=True):
        groups = [part.tasks for part in parts if part.row == row]
        place = {task: min(order.index(other) for other in group) for group in groups for task in group}
        order.sort(key=lambda task: place.get(task, len(order)))
    return tuple(order)


def _arrows(graph: Graph, places: Mapping[str, _Place], numbers: Mapping[_Place, int]) -> tuple[tuple[int, int], ...]:
    made = {name_of(value): numbers[places[name_of(node)]] for node in graph.nodes for value in node.outputs}
    found: dict[tuple[int, int], None] = {}
    for node in graph.nodes:
        own = numbers[places[name_of(node)]]
        for name in map(name_of, data_inputs_of(node)):
            if name in made and made[name] != own:
                found[made[name], own] = None
    return tuple(found)
