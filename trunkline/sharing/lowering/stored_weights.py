"""The stored tensors of a multi-task Graph while it is written: one initializer for each origin that is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import INSTANCE_KEY, PART_KEY, ROLE_KEY, TASKS_KEY, UNIT_KEY, array_of, name_of, shape_of
from trunkline.graph.roles import role_of
from trunkline.sharing.lowering.numbering import Cell
from trunkline.sharing.origin import BackboneWeight, Leading, Origin, drawn_as, wanted_name
from trunkline.sharing.skip import Skip


class StoredWeights:
    """Stores each origin at its first use.

    Args:
        builder: Builder of the Graph.
        cells: All cells that may be written.
        served: The tasks that each cell serves; one that serves none is not written.
        tasks: All tasks, in output order.

    Attributes:
        origin: Where each parameter and running statistic comes from, by its name; of a tensor that only views read,
            which leading part of it is stored.
    """

    def __init__(
        self, builder: GraphBuilder, cells: Sequence[Cell], served: Sequence[Sequence[str]], tasks: Sequence[str]
    ) -> None:
        self.origin: dict[str, Origin | Leading] = {}
        self._builder = builder
        self._tasks = tasks
        live = [(cell, users) for cell, users in zip(cells, served, strict=True) if users]
        self._owner = _owners(live, tasks)
        self._viewed = _viewed(live)
        self._values: dict[Origin, ir.Value] = {}
        self._parts: dict[Leading, ir.Value] = {}
        self._first_column: dict[tuple[str, int, int], str] = {}

    def read(self, wanted: Origin | Leading, source: ir.Value) -> ir.Value:
        """Return what a node reads of a stored tensor, a copy of ``source``: all of it, or its leading part."""
        if not isinstance(wanted, Leading):
            return self._stored(wanted, source)
        whole = self._stored(wanted.weight, source)
        # Where views alone read a tensor, no more than the widest one's part is stored, which needs no cutting.
        if shape_of(whole)[wanted.axis] == wanted.size:
            return whole
        if wanted not in self._parts:
            self._parts[wanted] = self._emit_part(whole, wanted)
        return self._parts[wanted]

    def projection(self, origin: Origin | Leading, skip: Skip) -> ir.Value:
        """Return the weight of a skip's 1×1 convolution."""
        assert not isinstance(origin, Leading)
        if origin not in self._values:
            name = self._name(origin)
            filler = self._drawn(Filler("xavier"), origin)
            self._values[origin] = self._builder.weight(name, skip.weight_shape, filler)
            self.origin[name] = origin
        return self._values[origin]

    def own_name(self, name: str) -> str:
        """Return the backbone's name of a value or weight, or another one where an output has that name: a task's."""
        return self._builder.free_name(f"{name}.value") if name in self._tasks else name

    def instance_of(self, node: ir.Node) -> int | None:
        """Return the weight instance that a node runs; ``None`` if it has no weights."""
        for value in node.inputs:
            origin = self._origin_of(value)
            if isinstance(origin, BackboneWeight):
                return origin.instance
        return None

    def mark(self) -> None:
        """Write at each weight the part, unit and instance of its first reader, and the tasks of all."""
        # The nodes that cut views come first: they read the weights, and have no marks of their own yet.
        for part in self._parts.values():
            cutting = part.producer()
            assert cutting is not None
            self._mark_by_readers(cutting, part, None)
        for origin, value in self._values.items():
            instance: int | None = None
            # A constant is stored once for all instances, so it has none.
            if isinstance(origin, BackboneWeight) and name_of(value) in self.origin:
                instance = origin.instance
            self._mark_by_readers(value, value, instance)

    def _mark_by_readers(self, item: ir.Node | ir.Value, value: ir.Value, instance: int | None) -> None:
        readers = [node for node, _ in value.uses()]
        served = {task for node in readers for task in node.metadata_props[TASKS_KEY].split(",")}
        first = readers[0].metadata_props
        tasks = [task for task in self._tasks if task in served]
        mark(item, first[PART_KEY], tasks, first.get(UNIT_KEY, ""), instance)

    def _origin_of(self, value: ir.Value | None) -> Origin | None:
        if value is None:
            return None
        for wanted, part in self._parts.items():
            if part is value:
                return wanted.weight
        found = self.origin.get(value.name or "")
        return found.weight if isinstance(found, Leading) else found

    def _stored(self, origin: Origin, source: ir.Value) -> ir.Value:
        if origin not in self._values:
            name = self._name(origin)
            part = self._viewed.get(origin)
            self._values[origin] = self._copied(source, name, origin, part)
            if role_of(source) != "static":
                # A view's statistics are a set of their own, not a part of the whole map's.
                own = isinstance(origin, BackboneWeight) and origin.narrow
                self.origin[name] = origin if part is None or own else part
        return self._values[origin]

    def _emit_part(self, whole: ir.Value, wanted: Leading) -> ir.Value:
        """Cut what a view reads out of a tensor that others read whole, or more of.

        The cut is a node, so that in training all readers move one tensor; export computes it once and for all.
        """
        name = self._builder.free_name(f"{name_of(whole)}[:{wanted.size}]")
        arguments = {"starts": 0, "ends": wanted.size, "axes": wanted.axis, "steps": 1}
        values = []
        for key, number in arguments.items():
            values.append(self._builder.tensor(self._builder.free_name(f"{name}.{key}"), np.array([number], np.int64)))
        return self._builder.node("Slice", [whole, *values], name=name)

    def _copied(self, source: ir.Value, name: str, origin: Origin, part: Leading | None) -> ir.Value:
        # A weight that the backbone's file did not hold has a filler instead of numbers; a copy is drawn by task.
        filler = Filler.of(source)
        shape = [int(size or 1) for size in shape_of(source)]
        if part is not None:
            shape[part.axis] = part.size
        if filler is not None:
            value = self._builder.weight(name, tuple(shape), self._drawn(filler, origin))
        elif part is not None:
            value = self._builder.tensor(name, _leading(source, part))
        else:
            assert source.const_value is not None
            value = self._builder.tensor(name, source.const_value)
        if ROLE_KEY in source.metadata_props:
            value.metadata_props[ROLE_KEY] = source.metadata_props[ROLE_KEY]
        return value

    def _drawn(self, filler: Filler, origin: Origin) -> Filler:
        """Return the filler by which a copy starts the same for a task, whatever the number of its instance."""
        return replace(filler, drawn_as=drawn_as(origin, self._owner[origin]))

    def _name(self, origin: Origin) -> str:
        """Return a name that nothing else has; the first column that reads an instance has its plain name."""
        if not isinstance(origin, BackboneWeight):
            return self._builder.free_name(wanted_name(origin))
        key = (origin.name, origin.instance, origin.channels)
        first = self._first_column.setdefault(key, origin.column)
        # Most models have one column for an instance, and a suffix would only tell its first task.
        if origin.column == first:
            origin = replace(origin, column="")
        # Instance 0 owns the backbone's name, which was reserved for it, so it is not made fresh.
        if origin == BackboneWeight(origin.name):
            return self.own_name(origin.name)
        return self._builder.free_name(wanted_name(origin))


def mark(
    item: ir.Node | ir.Value, part: str, tasks: Sequence[str], unit: str = "", instance: int | None = None
) -> None:
    """Write at a node or weight who owns it and whom it serves: readers of the file must not go by names."""
    marks = {PART_KEY: part, TASKS_KEY: ",".join(tasks), UNIT_KEY: unit}
    if instance is not None:
        marks[INSTANCE_KEY] = str(instance)
    item.metadata_props.update({key: text for key, text in marks.items() if text})


def _leading(source: ir.Value, part: Leading) -> np.ndarray[Any, Any]:
    content = array_of(source)
    assert content is not None
    return np.ascontiguousarray(np.take(content, range(part.size), axis=part.axis))


def _owners(live: Sequence[tuple[Cell, Sequence[str]]], tasks: Sequence[str]) -> dict[Origin, str]:
    """Return, by weight, the first in output order of the tasks that use it."""
    users_of: dict[Origin, set[str]] = defaultdict(set)
    for cell, users in live:
        for read in cell.weights:
            users_of[read.weight if isinstance(read, Leading) else read].update(users)
    return {weight: min(users, key=tasks.index) for weight, users in users_of.items()}


def _viewed(live: Sequence[tuple[Cell, Sequence[str]]]) -> Mapping[Origin, Leading]:
    """Return, by tensor that only views read, the widest of them: the rest of it need not be stored."""
    parts: dict[Origin, list[Leading]] = defaultdict(list)
    whole: set[Origin] = set()
    for cell, _ in live:
        for read in cell.weights:
            if isinstance(read, Leading):
                parts[read.weight].append(read)
            # A view's statistics are stored for its channels alone; all vectors of a normalisation are [C].
            elif isinstance(read, BackboneWeight) and read.narrow:
                parts[read].append(Leading(read, 0, read.channels))
            else:
                whole.add(read)
    widest: dict[Origin, Leading] = {}
    for weight, reads in parts.items():
        # Two layers of a block may have one kernel, of which a view cuts rows for the first and columns for the second:
        # then neither part holds what the other needs.
        axes = {read.axis for read in reads}
        if weight not in whole and len(axes) == 1:
            widest[weight] = max(reads, key=lambda read: read.size)
    return widest
