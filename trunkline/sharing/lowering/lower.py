"""Lower a sharing plan to a multi-task Graph in which everything equal is computed once.

First every task walks the backbone and asks for its computations in a value numbering; then the cells that
are left are written as a Graph. Names say who uses what: a node that serves all tasks keeps its name, a copy
carries its tasks (``conv4@depth+normals``), weight instance k is ``conv4.weight@k``, and a head's nodes start
with ``head.<task>.``. Nothing is ever read off a name: the Graph's metadata says who owns a node, and ``origin``
where a weight comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.fragments.taps import read_taps
from trunkline.graph.computed_weights import computation_of, computes_weight, image_inputs_of
from trunkline.graph.graph import Graph, data_inputs_of, inputs_of, name_of
from trunkline.graph.roles import Role, role_of
from trunkline.graph.verify import verify
from trunkline.sharing.lowering.copies import Copies
from trunkline.sharing.lowering.emission import Emission
from trunkline.sharing.lowering.numbering import IMAGE, BackboneNode, HeadNode, Numbering, Ref, SkippedUnit
from trunkline.sharing.origin import BackboneWeight, HeadWeight, Origin, SkipWeight
from trunkline.sharing.plan import SKIP, SharingPlan, check_plan
from trunkline.sharing.skip import Skip, skips_of
from trunkline.sharing.units import Unit, find_units, unit_of_nodes


@dataclass(frozen=True, slots=True)
class Lowered:
    """A multi-task model.

    Attributes:
        graph: Its outputs are named by task, in the plan's order.
        origin: Where each parameter and each running statistic of the Graph comes from, by its name there.
    """

    graph: Graph
    origin: Mapping[str, Origin]


def lower(plan: SharingPlan, backbone: Graph, heads: Mapping[str, Graph]) -> Lowered:
    """Return the multi-task model of ``plan``.

    Args:
        plan: Who runs which instance of what.
        backbone: Its outputs are the feature maps that the heads read, the last one last.
        heads: A head for each task; a task without one outputs the last feature map itself.

    Raises:
        InvalidConfig: The plan does not fit the backbone, or a head is for no task of the plan.
    """
    check_heads(plan.tasks, heads, backbone)
    units = find_units(backbone, plan.granularity)
    check_plan(plan, backbone, units)
    skips = skips_of(backbone, units, plan.granularity)
    walk = Walk(plan, backbone, units, skips)
    outputs = {task: walk.run(task, heads.get(task)) for task in plan.tasks}
    emission = Emission(backbone, heads, units, skips)
    graph = verify(emission.graph(walk.numbering, outputs))
    return Lowered(graph, emission.origin)


def check_heads(tasks: Sequence[str], heads: Mapping[str, Graph], backbone: Graph) -> None:
    """Refuse heads of unknown tasks, and heads that read other feature maps than the backbone has."""
    for task in heads:
        if task not in tasks:
            raise InvalidConfig(f"there is a head for {task!r}, which is no task", advice=did_you_mean(task, tasks))
    for task, head in heads.items():
        reads, taps = len(head.model.graph.inputs), len(backbone.outputs)
        if reads > taps:
            text = f"the head of {task!r} reads {reads} feature maps, {backbone.name} has {taps}"
            raise InvalidConfig(text, advice="name as many with --features")


@dataclass(frozen=True, slots=True)
class _Reader:
    """A node that reads weights for a task: of one instance, beside these inputs."""

    node: ir.Node
    instance: int
    inputs: tuple[Ref, ...]
    task: str


class Walk:
    """Walks the backbone once per task and numbers what is asked for.

    Attributes:
        numbering: What was asked for.
        read: The origins of the weights that a node reads for a task, by node and task, in input order.
    """

    def __init__(self, plan: SharingPlan, backbone: Graph, units: Sequence[Unit], skips: Sequence[Skip | None]) -> None:
        self.plan = plan
        self.backbone = backbone
        self.units = units
        self.skips = skips
        self.numbering = Numbering()
        self.read: dict[tuple[str, str], tuple[Origin, ...]] = {}
        self._unit_of = unit_of_nodes(units)
        self._stored = {name_of(node): _stored_inputs(node) for node in backbone.nodes}
        self._computing = {node: chain for node in backbone.nodes if (chain := computation_of(node))}
        self._copies = Copies()

    def run(self, task: str, head: Graph | None = None) -> Ref:
        """Return the value that is ``task``'s output. Tasks run in the plan's order."""
        values = {name_of(self.backbone.input): IMAGE}
        for node in self.backbone.nodes:
            if computes_weight(node):
                continue  # whoever reads the weight asks for it, with the tensors of its own instance
            unit = self._unit_of.get(name_of(node))
            if unit is not None and self._skips(unit, node, task):
                if name_of(node) == self.units[unit].nodes[-1]:
                    values[self.units[unit].output] = self._skip(unit, values, task)
                continue
            reader = self._reader(node, unit, task, values)
            known = {**values, **self._computed_weights(reader)} if node in self._computing else values
            inputs = tuple(known[name_of(value)] for value in data_inputs_of(node))
            weights = self._weights(node, reader)
            self.read[name_of(node), task] = weights
            _record(node, self.numbering.ask(BackboneNode(name_of(node)), weights, inputs), values)
        taps = [values[name_of(value)] for value in self.backbone.outputs]
        return taps[-1] if head is None else self._run_head(task, head, taps)

    def _skips(self, unit: int, node: ir.Node, task: str) -> bool:
        core = self.units[unit]
        return self.plan.choice(core.name, task) == SKIP and name_of(node) in core.nodes

    def _skip(self, unit: int, values: dict[str, Ref], task: str) -> Ref:
        skip, x = self.skips[unit], values[self.units[unit].input]
        assert skip is not None
        if skip.is_identity:
            return x
        weights = (SkipWeight(self.units[unit].name, task),) if skip.weight_shape else ()
        return self.numbering.ask(SkippedUnit(unit), weights, (x,))

    def _reader(self, node: ir.Node, unit: int | None, task: str, values: Mapping[str, Ref]) -> _Reader:
        inputs = tuple(values[name_of(value)] for value in image_inputs_of(node))
        return _Reader(node, 0 if unit is None else self._instance(unit, node, task), inputs, task)

    def _computed_weights(self, reader: _Reader) -> dict[str, Ref]:
        """Ask for what computes the weights of a node, and return what is computed."""
        found: dict[str, Ref] = {}
        for node in self._computing[reader.node]:
            inputs = tuple(found[name_of(value)] for value in data_inputs_of(node))
            _record(node, self.numbering.ask(BackboneNode(name_of(node)), self._weights(node, reader), inputs), found)
        return found

    def _weights(self, node: ir.Node, reader: _Reader) -> tuple[Origin, ...]:
        return tuple(self._weight(name, role, reader) for name, role in self._stored[name_of(node)])

    def _weight(self, name: str, role: Role, reader: _Reader) -> BackboneWeight:
        if role == "static":
            return BackboneWeight(name)
        if role == "parameter" and self.plan.tie:
            return BackboneWeight(name, reader.instance)
        # Statistics describe an input. Pooled over several, they fit none, and the deployed model is not the trained.
        column = self._copies.copy(
            name, reader.instance, node=name_of(reader.node), inputs=reader.inputs, task=reader.task
        )
        return BackboneWeight(name, reader.instance, column)

    def _instance(self, unit: int, node: ir.Node, task: str) -> int:
        if node.op_type == "BatchNormalization" and self.plan.batchnorm == "task":
            return 1 + self.plan.tasks.index(task)
        choice = self.plan.choice(self.units[unit].name, task)
        return 0 if choice == SKIP else int(choice)

    def _run_head(self, task: str, head: Graph, taps: Sequence[Ref]) -> Ref:
        values = dict(read_taps(head, taps))
        for node in head.nodes:
            inputs = tuple(values[name_of(value)] for value in data_inputs_of(node))
            weights = tuple(HeadWeight(task, name_of(v)) for v in inputs_of(node) if v.is_initializer())
            _record(node, self.numbering.ask(HeadNode(task, name_of(node)), weights, inputs), values)
        return values[name_of(head.outputs[0])]


def _record(node: ir.Node, ref: Ref, values: dict[str, Ref]) -> None:
    for index, value in enumerate(node.outputs):
        if value.name:
            values[value.name] = Ref(ref.cell, index)


def _stored_inputs(node: ir.Node) -> list[tuple[str, Role]]:
    return [(name_of(value), role_of(value)) for value in inputs_of(node) if value.is_initializer()]
