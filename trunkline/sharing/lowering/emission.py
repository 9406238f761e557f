"""Write numbered cells as a Graph: the second half of lowering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import (
    BACKBONE,
    HEAD,
    INSTANCE_KEY,
    PART_KEY,
    ROLE_KEY,
    SKIP,
    SOURCE_KEY,
    TASKS_KEY,
    UNIT_KEY,
    Graph,
    name_of,
    shape_of,
)
from trunkline.graph.roles import role_of
from trunkline.sharing.lowering.numbering import IMAGE, BackboneNode, Cell, HeadNode, Numbering, Ref, SkippedUnit
from trunkline.sharing.origin import BackboneWeight, Origin, drawn_as, head_name, wanted_name
from trunkline.sharing.skip import Skip, emit_skip
from trunkline.sharing.units import Unit, unit_of_nodes


class Emission:
    """Writes numbered cells as a Graph, in which every node and weight says who owns it.

    A node that serves all tasks, and instance 0 of a weight, keep the backbone's own name. A name that is made for
    anything else is numbered where the backbone, or a task, has it already.

    Attributes:
        origin: Where each parameter and running statistic that was written comes from, by its name.
    """

    def __init__(
        self, backbone: Graph, heads: Mapping[str, Graph], units: Sequence[Unit], skips: Sequence[Skip | None]
    ) -> None:
        self.origin: dict[str, Origin] = {}
        self._backbone = backbone
        self._units = units
        self._skips = skips
        self._unit_of = unit_of_nodes(units)
        self._nodes = {name_of(node): node for node in backbone.nodes}
        self._heads = {task: {name_of(node): node for node in head.nodes} for task, head in heads.items()}
        self._builder = GraphBuilder(backbone.name)
        self._builder.reserve(_names_in(backbone))
        self._values: dict[Ref, ir.Value] = {}
        self._weights: dict[Origin, ir.Value] = {}
        self._first_column: dict[tuple[str, int], str] = {}
        self._outputs: dict[str, Ref] = {}
        self._given: set[tuple[str, bool]] = set()
        self._owner: dict[Origin, str] = {}

    def graph(self, numbering: Numbering, outputs: Mapping[str, Ref]) -> Graph:
        """Return the Graph of the cells that ``outputs`` need."""
        self._outputs = dict(outputs)
        self._builder.reserve(outputs)
        image = self._backbone.input
        self._values[IMAGE] = self._builder.input(self._own_name(name_of(image)), shape_of(image))
        served = numbering.served(outputs)
        self._owner = _owners(numbering.cells, served, list(outputs))
        for index, (cell, tasks) in enumerate(zip(numbering.cells, served, strict=True)):
            if tasks:
                self._emit(index, cell, tasks)
        graph = self._builder.finish([self._output(task) for task in outputs], self._backbone.notes)
        graph.model.metadata_props[TASKS_KEY] = ",".join(outputs)
        self._mark_weights()
        return graph

    def _emit(self, index: int, cell: Cell, tasks: Sequence[str]) -> None:
        match cell.operation:
            case SkippedUnit(unit):
                self._emit_skip(index, cell, tasks, unit)
            case BackboneNode(name):
                self._emit_node(index, cell, tasks, self._nodes[name])
                unit_index = self._unit_of.get(name)
                governed = "" if unit_index is None else self._units[unit_index].name
                self._mark(self._builder.last, BACKBONE, tasks, governed, _instance_of(self._builder.last, self.origin))
            case HeadNode(task, name):
                self._emit_node(index, cell, tasks, self._heads[task][name], head=task)
                self._mark(self._builder.last, HEAD, tasks)

    def _emit_node(self, index: int, cell: Cell, tasks: Sequence[str], node: ir.Node, head: str = "") -> None:
        name = name_of(node)
        self._builder.node(
            node.op_type,
            self._inputs(node, cell),
            name=self._builder.fresh(head_name(head, name)) if head else self._copy_name(name, tasks),
            attributes={key: item.value for key, item in node.attributes.items()},
            outputs=[self._value_name(value, Ref(index, i), tasks, head) for i, value in enumerate(node.outputs)],
            source=node.metadata_props.get(SOURCE_KEY, ""),
        )
        for position, value in enumerate(self._builder.last.outputs):
            self._values[Ref(index, position)] = value

    def _emit_skip(self, index: int, cell: Cell, tasks: Sequence[str], unit: int) -> None:
        skip = self._skips[unit]
        assert skip is not None
        wanted = f"{self._units[unit].name}.skip"
        x = self._values[cell.inputs[0]]
        weight = self._projection(cell.weights[0], skip) if cell.weights else None
        name = self._builder.fresh(wanted if self._serves_all(tasks) else _suffixed(wanted, tasks))
        self._values[Ref(index)] = emit_skip(self._builder, skip, x, weight, name=name)
        node = self._values[Ref(index)].producer()
        while node is not None and node is not x.producer():
            self._mark(node, SKIP, tasks, self._units[unit].name)
            node = node.inputs[0].producer() if node.inputs[0] is not None else None

    def _inputs(self, node: ir.Node, cell: Cell) -> list[ir.Value | None]:
        refs, origins = iter(cell.inputs), iter(cell.weights)
        inputs: list[ir.Value | None] = []
        for value in node.inputs:
            if value is None:
                inputs.append(None)
            elif value.is_initializer():
                inputs.append(self._weight(next(origins), value))
            else:
                inputs.append(self._values[next(refs)])
        return inputs

    def _weight(self, origin: Origin, source: ir.Value) -> ir.Value:
        """Return the initializer of this origin, a copy of ``source``, storing it at first use."""
        if origin not in self._weights:
            name = self._weight_name(origin)
            self._weights[origin] = self._copied(source, name, origin)
            if role_of(source) != "static":
                self.origin[name] = origin
        return self._weights[origin]

    def _projection(self, origin: Origin, skip: Skip) -> ir.Value:
        if origin not in self._weights:
            name = self._weight_name(origin)
            self._weights[origin] = self._builder.weight(name, skip.weight_shape, self._drawn(Filler("xavier"), origin))
            self.origin[name] = origin
        return self._weights[origin]

    def _copied(self, source: ir.Value, name: str, origin: Origin) -> ir.Value:
        filler = Filler.of(source)
        if filler is None:
            assert source.const_value is not None
            value = self._builder.tensor(name, source.const_value)
        else:
            shape = tuple(int(size or 1) for size in shape_of(source))
            value = self._builder.weight(name, shape, self._drawn(filler, origin))
        if ROLE_KEY in source.metadata_props:
            value.metadata_props[ROLE_KEY] = source.metadata_props[ROLE_KEY]
        return value

    def _drawn(self, filler: Filler, origin: Origin) -> Filler:
        """Let a copy start alike for a task, whatever the number of its instance."""
        return replace(filler, drawn_as=drawn_as(origin, self._owner[origin]))

    def _output(self, task: str) -> ir.Value:
        """Return the value named ``task``; several tasks with one value get an Identity each."""
        value = self._values[self._outputs[task]]
        if value.name == task:
            return value
        named = self._builder.node("Identity", [value], name=self._builder.fresh(f"output.{task}"), outputs=[task])
        self._mark(self._builder.last, BACKBONE, [task])
        return named

    def _weight_name(self, origin: Origin) -> str:
        """The first column that reads an instance has the instance's plain name."""
        if isinstance(origin, BackboneWeight):
            first = self._first_column.setdefault((origin.name, origin.instance), origin.column)
            if origin.column == first:
                origin = BackboneWeight(origin.name, origin.instance)
            if origin == BackboneWeight(origin.name):
                return self._own_name(origin.name)
        return self._builder.fresh(wanted_name(origin))

    def _value_name(self, value: ir.Value, ref: Ref, tasks: Sequence[str], head: str) -> str:
        owners = [task for task, output in self._outputs.items() if output == ref]
        if len(owners) == 1:
            return owners[0]
        if head:
            return self._builder.fresh(head_name(head, name_of(value)))
        return self._copy_name(name_of(value), tasks, value=True)

    def _copy_name(self, name: str, tasks: Sequence[str], *, value: bool = False) -> str:
        """Return the name of a backbone's node or value in the column of ``tasks``."""
        if not self._serves_all(tasks):
            return self._builder.fresh(_suffixed(name, tasks))
        own = self._own_name(name) if value else name
        # A weight that two units compute alike has one node for each instance, which may serve the same tasks.
        if (own, value) in self._given:
            return self._builder.fresh(own)
        self._given.add((own, value))
        return own

    def _own_name(self, name: str) -> str:
        """Return the backbone's own name of a value or weight; the tasks' names are the outputs'."""
        return self._builder.fresh(f"{name}.value") if name in self._outputs else name

    def _serves_all(self, tasks: Sequence[str]) -> bool:
        return len(tasks) == len(self._outputs)

    def _mark_weights(self) -> None:
        """Let each weight say the part, unit and instance of its first reader, and the tasks of all."""
        for origin, value in self._weights.items():
            readers = [node for node, _ in value.uses()]
            served = {task for node in readers for task in node.metadata_props[TASKS_KEY].split(",")}
            first = readers[0].metadata_props
            tasks = [task for task in self._outputs if task in served]
            instance = origin.instance if isinstance(origin, BackboneWeight) and name_of(value) in self.origin else None
            self._mark(value, first[PART_KEY], tasks, first.get(UNIT_KEY, ""), instance)

    @staticmethod
    def _mark(
        item: ir.Node | ir.Value, part: str, tasks: Sequence[str], unit: str = "", instance: int | None = None
    ) -> None:
        marks = {PART_KEY: part, TASKS_KEY: ",".join(tasks), UNIT_KEY: unit}
        marks[INSTANCE_KEY] = "" if instance is None else str(instance)
        item.metadata_props.update({key: text for key, text in marks.items() if text})


def _suffixed(name: str, tasks: Sequence[str]) -> str:
    return f"{name}@{'+'.join(tasks)}"


def _names_in(graph: Graph) -> set[str]:
    values = [graph.input, *(value for node in graph.nodes for value in node.outputs)]
    return {name_of(node) for node in graph.nodes} | set(graph.initializers) | {v.name for v in values if v.name}


def _instance_of(node: ir.Node, origin: Mapping[str, Origin]) -> int | None:
    """Return the weight instance that a node runs; ``None`` if it has no weights."""
    read = (origin.get(value.name) for value in node.inputs if value is not None and value.name)
    return next((weight.instance for weight in read if isinstance(weight, BackboneWeight)), None)


def _owners(cells: Sequence[Cell], served: Sequence[Sequence[str]], tasks: Sequence[str]) -> dict[Origin, str]:
    """Return, by weight, the first of the tasks that use it."""
    owners: dict[Origin, str] = {}
    for cell, users in zip(cells, served, strict=True):
        for weight in cell.weights if users else ():
            known = [owners[weight]] if weight in owners else []
            owners[weight] = min([*known, *users], key=tasks.index)
    return owners
