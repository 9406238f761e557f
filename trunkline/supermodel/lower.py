"""Lower a sharing plan to a multi-task Graph in which everything equal is computed once.

First every task walks the backbone and asks for its computations in a value numbering; then the cells that
are left are written as a Graph. Names say who uses what: a node that serves all tasks keeps its name, a copy
carries its tasks (``conv4@depth+normals``), weight instance k is ``conv4.weight@k``, and a head's nodes start
with ``head.<task>.``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.ingest.graph import Graph, name_of
from trunkline.ingest.verify import verify
from trunkline.supermodel.emission import Emission
from trunkline.supermodel.naming import head_name, instance_name, is_instanced, skip_weight_name
from trunkline.supermodel.numbering import IMAGE, BackboneNode, HeadNode, Numbering, Ref, SkippedUnit
from trunkline.supermodel.plan import SKIP, SharingPlan, check_plan
from trunkline.supermodel.skip import skips_of
from trunkline.supermodel.taps import read_taps
from trunkline.supermodel.units import Unit, find_units, has_parameters, unit_of_nodes


def lower(plan: SharingPlan, backbone: Graph, heads: Mapping[str, Graph]) -> Graph:
    """Return the multi-task Graph of ``plan``, its outputs named by task in the plan's order.

    Args:
        plan: Who runs which instance of what.
        backbone: Its outputs are the feature maps that the heads read, the last one last.
        heads: A head for each task; a task without one outputs the last feature map itself.

    Raises:
        InvalidConfig: The plan does not fit the backbone, or a head is for no task of the plan.
    """
    check_heads(plan.tasks, heads, backbone)
    _check_names(plan.tasks, backbone)
    units = find_units(backbone, plan.granularity)
    check_plan(plan, backbone, units)
    walk = Walk(plan, backbone, units)
    outputs = {task: walk.run(task, heads.get(task)) for task in plan.tasks}
    emission = Emission(backbone, heads, units, walk.skips)
    return verify(emission.graph(walk.numbering, outputs))


def _check_names(tasks: Sequence[str], backbone: Graph) -> None:
    """A task names an output, so no weight may have its name."""
    for task in tasks:
        if task in backbone.initializers:
            raise InvalidConfig(f"task {task!r} is called like a weight of {backbone.name}", advice="rename the task")


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


class Walk:
    """Walks the backbone once per task and numbers what is asked for."""

    def __init__(self, plan: SharingPlan, backbone: Graph, units: Sequence[Unit]) -> None:
        self.plan = plan
        self.backbone = backbone
        self.units = units
        self.skips = skips_of(backbone, units, plan.granularity)
        self.numbering = Numbering()
        self._unit_of = unit_of_nodes(units)
        self._clones: dict[tuple[int, int], dict[tuple[Ref, ...], int]] = {}
        self._newest = [max((i for i in plan.units[unit.name].values() if i != SKIP), default=0) for unit in units]

    def run(self, task: str, head: Graph | None) -> Ref:
        """Return the value that is ``task``'s output."""
        values = {name_of(self.backbone.input): IMAGE}
        entered: dict[int, int] = {}
        for node in self.backbone.nodes:
            unit = self._unit_of.get(name_of(node))
            if unit is not None and self._skips(unit, node, task):
                if name_of(node) == self.units[unit].nodes[-1]:
                    values[self.units[unit].output] = self._skip(unit, values, task)
                continue
            inputs = tuple(values[name_of(value)] for value in _computed(node))
            instance = 0 if unit is None else self._instance(unit, node, task, inputs, entered)
            ref = self.numbering.ask(BackboneNode(name_of(node)), _weights(node, instance), inputs, task)
            _record(node, ref, values)
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
        own = 1 + self.plan.tasks.index(task)
        weights = (skip_weight_name(self.units[unit].name, own),) if skip.weight_shape else ()
        return self.numbering.ask(SkippedUnit(unit), weights, (x,), task)

    def _instance(self, unit: int, node: ir.Node, task: str, inputs: tuple[Ref, ...], entered: dict[int, int]) -> int:
        if node.op_type == "BatchNormalization" and self.plan.batchnorm == "task":
            return 1 + self.plan.tasks.index(task)
        choice = self.plan.choice(self.units[unit].name, task)
        instance = 0 if choice == SKIP else int(choice)
        if self.plan.tie or not has_parameters(node):
            return instance
        if unit not in entered:
            entered[unit] = self._cloned(unit, instance, inputs)
        return entered[unit]

    def _cloned(self, unit: int, instance: int, inputs: tuple[Ref, ...]) -> int:
        """Untied weights: the same instance fed by another value becomes a new instance."""
        clones = self._clones.setdefault((unit, instance), {})
        if not clones:
            clones[inputs] = instance
        elif inputs not in clones:
            self._newest[unit] += 1
            clones[inputs] = self._newest[unit]
        return clones[inputs]

    def _run_head(self, task: str, head: Graph, taps: Sequence[Ref]) -> Ref:
        values = dict(read_taps(head, taps))
        for node in head.nodes:
            inputs = tuple(values[name_of(value)] for value in _computed(node))
            weights = tuple(head_name(task, name_of(v)) for v in node.inputs if v is not None and v.is_initializer())
            _record(node, self.numbering.ask(HeadNode(task, name_of(node)), weights, inputs, task), values)
        return values[name_of(head.outputs[0])]


def _record(node: ir.Node, ref: Ref, values: dict[str, Ref]) -> None:
    for index, value in enumerate(node.outputs):
        if value.name:
            values[value.name] = Ref(ref.cell, index)


def _computed(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None and not value.is_initializer()]


def _weights(node: ir.Node, instance: int) -> tuple[str, ...]:
    return tuple(instance_name(name_of(v), instance) for v in node.inputs if v is not None and is_instanced(v))
