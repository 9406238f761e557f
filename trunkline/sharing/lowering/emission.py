"""Write numbered cells as a Graph: the second half of lowering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import BACKBONE, SKIP, SOURCE_KEY, TASKS_KEY, Graph, name_of, shape_of
from trunkline.sharing.backbone import Backbone, UnitTable
from trunkline.sharing.lowering.numbering import (
    IMAGE,
    BackboneNode,
    Cell,
    FragmentNode,
    MixedNode,
    MixedValues,
    Numbering,
    Ref,
    SkippedUnit,
)
from trunkline.sharing.lowering.stored_weights import StoredWeights, mark
from trunkline.sharing.origin import BackboneWeight, Leading, Origin, fragment_name
from trunkline.sharing.skip import emit_skip

Fragments = Mapping[tuple[str, str], Graph]
"""Heads and joins: by part and owner."""


class Emission:
    """Writes numbered cells as a Graph, in which every node and weight records who owns it.

    A node that serves all tasks, and instance 0 of a weight, keep the backbone's own name. A name that is made for
    anything else is numbered where the backbone, or a task, has it already.
    """

    def __init__(self, backbone: Backbone, table: UnitTable, fragments: Fragments) -> None:
        self._backbone = backbone.graph
        self._table = table
        self._nodes = backbone.nodes
        self._fragments = {key: {name_of(node): node for node in made.nodes} for key, made in fragments.items()}
        self._builder = GraphBuilder(backbone.name)
        # Before any name is made up: the backbone may have names of our own form, as `conv1.weight@1` of a file that
        # was exported here.
        self._builder.reserve(_names_in(backbone.graph))
        self._values: dict[Ref, ir.Value] = {}
        self._outputs: dict[str, Ref] = {}
        # By name, and whether it is a value's: nodes and values are named apart in ONNX.
        self._given: set[tuple[str, bool]] = set()

    @property
    def origin(self) -> dict[str, Origin | Leading]:
        """Origin of each parameter and running statistic that was written, by its name in the Graph."""
        return self._weights.origin

    def names(self, values: Mapping[str, Ref]) -> dict[str, str]:
        """Return what those of some values that were written are called in the Graph, by what they were called."""
        return {name: name_of(self._values[ref]) for name, ref in values.items() if ref in self._values}

    def graph(self, numbering: Numbering, outputs: Mapping[str, Ref]) -> Graph:
        """Return the Graph of the cells that ``outputs`` need."""
        self._outputs = dict(outputs)
        self._builder.reserve(outputs)
        served = numbering.served(outputs)
        self._weights = StoredWeights(self._builder, numbering.cells, served, list(outputs))
        # The image may be called as a task, whose name the output takes.
        image = self._backbone.input
        self._values[IMAGE] = self._builder.input(self._weights.own_name(name_of(image)), shape_of(image))
        for index, (cell, tasks) in enumerate(zip(numbering.cells, served, strict=True)):
            if tasks:  # a cell that serves none is dead, such as a feature map that no head reads
                self._emit(index, cell, tasks)
        graph = self._builder.finish([self._output(task) for task in outputs], self._backbone.notes)
        graph.model.metadata_props[TASKS_KEY] = ",".join(outputs)
        # Last, because a weight's marks are those of all the nodes that read it.
        self._weights.mark()
        return graph

    def _emit(self, index: int, cell: Cell, tasks: Sequence[str]) -> None:
        match cell.operation:
            case SkippedUnit(unit):
                self._emit_skip(index, cell, tasks, unit)
            case BackboneNode(name, groups):
                # A depthwise convolution that a view narrows has as many groups as the view has channels.
                attributes = {"group": groups} if groups else {}
                self._emit_node(index, cell, tasks, self._nodes[name], attributes)
                instance = self._weights.instance_of(self._builder.last)
                mark(self._builder.last, BACKBONE, tasks, self._unit_of(name), instance)
            case FragmentNode(part, owner, name):
                self._emit_node(index, cell, tasks, self._fragments[part, owner][name], {}, (part, owner))
                mark(self._builder.last, part, tasks)
            case MixedValues() | MixedNode():
                raise AssertionError("a plan has no open choice")

    def _unit_of(self, node: str) -> str:
        index = self._table.of_node.get(node)
        return "" if index is None else self._table.names[index]

    def _emit_node(
        self,
        index: int,
        cell: Cell,
        tasks: Sequence[str],
        node: ir.Node,
        attributes: Mapping[str, int],
        fragment: tuple[str, str] | None = None,
    ) -> None:
        own = {key: item.value for key, item in node.attributes.items()}
        names = [self._value_name(value, Ref(index, at), tasks, fragment) for at, value in enumerate(node.outputs)]
        self._builder.node(
            node.op_type,
            self._inputs(node, cell),
            name=self._node_name(cell, name_of(node), tasks, fragment),
            attributes={**own, **attributes},
            outputs=names,
            source=node.metadata_props.get(SOURCE_KEY, ""),
        )
        for position, value in enumerate(self._builder.last.outputs):
            self._values[Ref(index, position)] = value

    def _emit_skip(self, index: int, cell: Cell, tasks: Sequence[str], unit: int) -> None:
        skip = self._table.skips[unit]
        assert skip is not None
        wanted = f"{self._table.names[unit]}.skip"
        x = self._values[cell.inputs[0]]
        weight = self._weights.projection(cell.weights[0], skip) if cell.weights else None
        name = self._builder.free_name(wanted if self._serves_all(tasks) else _suffixed(wanted, tasks))
        self._values[Ref(index)] = emit_skip(self._builder, skip, x, weight, name=name)
        # A skip that crops and projects is two nodes: mark all, from its result back to what it reads.
        value: ir.Value | None = self._values[Ref(index)]
        while value is not None and value is not x:
            node = value.producer()
            assert node is not None
            mark(node, SKIP, tasks, self._table.names[unit])
            value = node.inputs[0]

    def _inputs(self, node: ir.Node, cell: Cell) -> list[ir.Value | None]:
        refs, origins = iter(cell.inputs), iter(cell.weights)
        inputs: list[ir.Value | None] = []
        for value in node.inputs:
            if value is None:
                inputs.append(None)
            elif value.is_initializer():
                inputs.append(self._weights.read(next(origins), value))
            else:
                inputs.append(self._values[next(refs)])
        return inputs

    def _output(self, task: str) -> ir.Value:
        """Return the value named ``task``; several tasks with one value get an Identity each.

        A file's output has one name, and every task needs an output of its own.
        """
        value = self._values[self._outputs[task]]
        if value.name == task:
            return value
        named = self._builder.node("Identity", [value], name=self._builder.free_name(f"output.{task}"), outputs=[task])
        mark(self._builder.last, BACKBONE, [task])
        return named

    def _node_name(self, cell: Cell, name: str, tasks: Sequence[str], fragment: tuple[str, str] | None) -> str:
        if fragment:
            return self._builder.free_name(fragment_name(*fragment, name))
        if (name, False) in self._given and self._serves_all(tasks):
            # Columns that a join mixes serve all tasks, each with its own instance.
            instance = _instance_of(cell)
            return self._builder.free_name(f"{name}@{instance}" if instance else name)
        return self._copy_name(name, tasks)

    def _value_name(self, value: ir.Value, ref: Ref, tasks: Sequence[str], fragment: tuple[str, str] | None) -> str:
        owners = [task for task, output in self._outputs.items() if output == ref]
        # The output of one task is named after it at once, which saves an Identity.
        if len(owners) == 1:
            return owners[0]
        if fragment:
            return self._builder.free_name(fragment_name(*fragment, name_of(value)))
        return self._copy_name(name_of(value), tasks, value=True)

    def _copy_name(self, name: str, tasks: Sequence[str], *, value: bool = False) -> str:
        """Return the name of a backbone's node or value in the column of ``tasks``."""
        if not self._serves_all(tasks):
            return self._builder.free_name(_suffixed(name, tasks))
        own = self._weights.own_name(name) if value else name
        # A weight that two units compute has one node for each instance, which may serve the same tasks.
        if (own, value) in self._given:
            return self._builder.free_name(own)
        self._given.add((own, value))
        return own

    def _serves_all(self, tasks: Sequence[str]) -> bool:
        return len(tasks) == len(self._outputs)


def _instance_of(cell: Cell) -> int:
    """Return the instance that a cell reads whole weights of, 0 if it reads none."""
    for weight in cell.weights:
        if isinstance(weight, BackboneWeight):
            return weight.instance
    return 0


def _suffixed(name: str, tasks: Sequence[str]) -> str:
    return f"{name}@{'+'.join(tasks)}"


def _names_in(graph: Graph) -> set[str]:
    names = {name_of(graph.input), *graph.initializers}
    for node in graph.nodes:
        names |= {name_of(node), *(value.name for value in node.outputs if value.name)}
    return names
