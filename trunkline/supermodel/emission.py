"""Write numbered cells as a Graph: the second half of lowering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from trunkline.ingest.builder import GraphBuilder
from trunkline.ingest.fillers import Filler
from trunkline.ingest.graph import ROLE_KEY, SOURCE_KEY, TASKS_KEY, UNIT_KEY, Graph, name_of, shape_of
from trunkline.supermodel.naming import drawn_as, head_name, is_instanced, skip_weight_name
from trunkline.supermodel.numbering import IMAGE, BackboneNode, Cell, HeadNode, Numbering, Ref, SkippedUnit
from trunkline.supermodel.skip import Skip, emit_skip
from trunkline.supermodel.units import Unit, unit_of_nodes


class Emission:
    """Writes numbered cells as a Graph."""

    def __init__(
        self, backbone: Graph, heads: Mapping[str, Graph], units: Sequence[Unit], skips: Sequence[Skip | None]
    ) -> None:
        self._backbone = backbone
        self._units = units
        self._skips = skips
        self._unit_of = unit_of_nodes(units)
        self._nodes = {name_of(node): node for node in backbone.nodes}
        self._heads = {task: {name_of(node): node for node in head.nodes} for task, head in heads.items()}
        self._builder = GraphBuilder(backbone.name)
        self._values: dict[Ref, ir.Value] = {}
        self._outputs: dict[str, Ref] = {}
        self._owner: dict[str, str] = {}

    def graph(self, numbering: Numbering, outputs: Mapping[str, Ref]) -> Graph:
        """Return the Graph of the cells that ``outputs`` need."""
        self._outputs = dict(outputs)
        image = self._backbone.input
        self._values[IMAGE] = self._builder.input(self._value_name(name_of(image)), shape_of(image))
        live = numbering.live(self._outputs)
        self._owner = _owners([numbering.cells[index] for index in sorted(live)], list(self._outputs))
        for index, cell in enumerate(numbering.cells):
            if index in live:
                self._emit(index, cell)
        return self._builder.finish([self._output(task) for task in self._outputs], self._backbone.notes)

    def _emit(self, index: int, cell: Cell) -> None:
        match cell.operation:
            case SkippedUnit(unit):
                self._emit_skip(index, cell, unit)
            case BackboneNode(name):
                unit_index = self._unit_of.get(name)
                governed = "" if unit_index is None else self._units[unit_index].name
                self._emit_node(index, cell, self._nodes[name], self._suffixed(name, cell), unit=governed)
            case HeadNode(task, name):
                prefix = head_name(task, "")
                self._emit_node(index, cell, self._heads[task][name], prefix + name, prefix=prefix)

    def _emit_node(self, index: int, cell: Cell, node: ir.Node, name: str, *, prefix: str = "", unit: str = "") -> None:
        self._builder.node(
            node.op_type,
            self._inputs(node, cell, prefix),
            name=self._builder.fresh(name),
            attributes={key: item.value for key, item in node.attributes.items()},
            outputs=self._output_names(node, index, cell, prefix),
            source=node.metadata_props.get(SOURCE_KEY, ""),
            unit=unit,
        )
        for position, value in enumerate(self._builder.last.outputs):
            self._values[Ref(index, position)] = value
        self._mark(self._builder.last, cell.tasks)

    def _emit_skip(self, index: int, cell: Cell, unit: int) -> None:
        skip = self._skips[unit]
        assert skip is not None
        name = self._builder.fresh(self._suffixed(f"{self._units[unit].name}.skip", cell))
        weight = None
        if skip.weight_shape:
            stored = cell.weights[0]
            source = skip_weight_name(self._units[unit].name, 0)
            filler = Filler("xavier", drawn_as=drawn_as("backbone", source, self._owner[stored]))
            weight = self._builder.initializer(stored) or self._builder.weight(stored, skip.weight_shape, filler)
        x = self._values[cell.inputs[0]]
        self._values[Ref(index)] = emit_skip(self._builder, skip, x, weight, name=name)
        self._mark(self._values[Ref(index)].producer(), cell.tasks, self._units[unit].name)

    def _inputs(self, node: ir.Node, cell: Cell, prefix: str) -> list[ir.Value | None]:
        refs, names = iter(cell.inputs), iter(cell.weights)
        inputs: list[ir.Value | None] = []
        for value in node.inputs:
            if value is None:
                inputs.append(None)
            elif not value.is_initializer():
                inputs.append(self._values[next(refs)])
            elif prefix or is_instanced(value):
                inputs.append(self._stored(next(names), value, "head" if prefix else "backbone"))
            else:
                inputs.append(self._stored(name_of(value), value, "backbone"))
        return inputs

    def _stored(self, name: str, origin: ir.Value, part: str) -> ir.Value:
        """Return the initializer ``name``, an instance of ``origin``, storing it at first use."""
        found = self._builder.initializer(name)
        if found is not None:
            return found
        filler = Filler.of(origin)
        if filler is None or name not in self._owner:
            assert origin.const_value is not None
            value = self._builder.tensor(name, origin.const_value)
        else:
            shape = tuple(int(size or 1) for size in shape_of(origin))
            own = replace(filler, drawn_as=drawn_as(part, name_of(origin), self._owner[name]))
            value = self._builder.weight(name, shape, own)
        if ROLE_KEY in origin.metadata_props:
            value.metadata_props[ROLE_KEY] = origin.metadata_props[ROLE_KEY]
        return value

    def _output_names(self, node: ir.Node, index: int, cell: Cell, prefix: str) -> list[str]:
        names = []
        for position, value in enumerate(node.outputs):
            owners = [task for task, ref in self._outputs.items() if ref == Ref(index, position)]
            if len(owners) == 1:
                names.append(owners[0])
                continue
            name = f"{prefix}{name_of(value)}" if prefix else self._suffixed(name_of(value), cell)
            names.append(self._builder.fresh(self._value_name(name)))
        return names

    def _output(self, task: str) -> ir.Value:
        """Return the value named ``task``; several tasks with one value get an Identity each."""
        value = self._values[self._outputs[task]]
        if value.name == task:
            return value
        named = self._builder.node("Identity", [value], name=self._builder.fresh(f"output.{task}"), outputs=[task])
        self._mark(named.producer(), [task])
        return named

    @staticmethod
    def _mark(node: ir.Node | None, tasks: Sequence[str], unit: str = "") -> None:
        if node is not None:
            node.metadata_props[TASKS_KEY] = ",".join(tasks)
            if unit:
                node.metadata_props[UNIT_KEY] = unit

    def _suffixed(self, name: str, cell: Cell) -> str:
        return name if len(cell.tasks) == len(self._outputs) else f"{name}@{'+'.join(cell.tasks)}"

    def _value_name(self, name: str) -> str:
        """Keep the tasks' names free for the outputs."""
        return f"{name}.value" if name in self._outputs else name


def _owners(cells: Sequence[Cell], tasks: Sequence[str]) -> dict[str, str]:
    """Return, by weight instance, the first of the tasks that use it."""
    owners: dict[str, str] = {}
    for cell in cells:
        for weight in cell.weights:
            known = [owners[weight]] if weight in owners else []
            owners[weight] = min([*known, *cell.tasks], key=tasks.index)
    return owners
