"""The cells of a backbone's nodes: which weights a node reads in a task's column, one instance or several mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import onnx_ir as ir

from trunkline.graph.computed_weights import computation_of, image_inputs_of
from trunkline.graph.graph import data_inputs_of, name_of
from trunkline.graph.roles import Role, role_of
from trunkline.sharing.lowering.copies import Copies
from trunkline.sharing.lowering.numbering import BackboneNode, MixedNode, MixedSource, Numbering, Ref, SkippedUnit
from trunkline.sharing.lowering.reader import Reader
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.option import Option
from trunkline.sharing.origin import BackboneWeight, Leading, Origin, SkipWeight
from trunkline.sharing.space import Space

Values = dict[str, Ref]
"""What has been computed in a column, by the backbone's name of the value."""


class StoredInput(NamedTuple):
    """An input of a node that is stored.

    Attributes:
        position: Number of the input.
        name: Name of the initializer.
        role: What it is for, see :mod:`trunkline.graph.roles`.
    """

    position: int
    name: str
    role: Role


class BackboneCells:
    """Asks for nodes of the backbone in tasks' columns.

    Args:
        space: The space that is walked.
        numbering: Where computations are requested.
        copies: Copies of weights that have a set for every input.

    Attributes:
        statistics: The running statistic that a task's column reads, by the same with that task for its column.
    """

    def __init__(self, space: Space, numbering: Numbering, copies: Copies) -> None:
        self.statistics: dict[BackboneWeight, BackboneWeight] = {}
        self._space = space
        self._numbering = numbering
        self._copies = copies
        nodes = space.backbone.graph.nodes
        self._stored = {name_of(node): _stored_inputs(node) for node in nodes}
        self._computing = {node: chain for node in nodes if (chain := computation_of(node))}
        # The clones of an untied plan are made for a plan; while choices are open, each instance is one set of weights.
        self._tied = space.tie or bool(space.choices)

    def ask(self, node: ir.Node, option: Option, task: str, values: Values) -> None:
        """Ask for a node whose option is decided, and record its outputs among ``values``."""
        self._ask(self._reader(node, option, task, values), values)

    def ask_free(self, node: ir.Node, task: str, values: Values) -> None:
        """Ask for a node that no unit governs, and record its outputs: if it has weights, all tasks share them."""
        self._ask(Reader(node, 0, self._inputs(node, values), task), values)

    def ask_mixed(self, node: ir.Node, index: int, task: str, options: Sequence[Option], values: Values) -> None:
        """Ask for a node of an operator unit whose options are open.

        Options that run it with the same weights are one source: as convolution is linear in its weights, the node runs
        once, with the sum of the sources' weights, each times its options' probability.
        """
        inside = name_of(node) in self._space.table.units[index].nodes
        options_of: dict[int | None, list[int]] = {}
        for number, option in enumerate(options):
            # A follower stays where its unit is skipped, and takes the shared instance there.
            source = None if option.skip and inside else self._instance(node, option, task)
            options_of.setdefault(source, []).append(number)
        inputs = self._inputs(node, values)
        sources, weights, refs = [], [], list(inputs)
        for source, numbers in options_of.items():
            found, computed = self._mixed_weights(node, index, source, inputs, task)
            sources.append(MixedSource(tuple(numbers), len(found), len(computed), skip=source is None))
            weights += found
            refs += computed
        choice = ChoiceId(self._space.table.units[index].name, task)
        operation = MixedNode(name_of(node), choice, tuple(sources))
        record(node, self._numbering.ask(operation, tuple(weights), tuple(refs)), values)

    def _mixed_weights(
        self, node: ir.Node, index: int, instance: int | None, inputs: tuple[Ref, ...], task: str
    ) -> tuple[list[Origin | Leading], list[Ref]]:
        """Return what a source of a mixed node reads: stored weights, and computed ones; the skip is ``None``."""
        if instance is None:
            return self._mixed_skip(node, index, task), []
        reader = Reader(node, instance, inputs, task)
        computed = self._computed_weights(reader) if node in self._computing else {}
        weights: list[Origin | Leading] = []
        weights += [self._mixed_weight(stored.name, stored.role, reader) for stored in self._stored[name_of(node)]]
        return weights, [computed[name_of(value)] for value in data_inputs_of(node) if name_of(value) in computed]

    def _mixed_skip(self, node: ir.Node, index: int, task: str) -> list[Origin | Leading]:
        unit, skip = self._space.table.units[index], self._space.table.skips[index]
        # The unit's first node takes the place of the whole skip; to those of its tail, the skip is the identity.
        if name_of(node) != unit.name or skip is None or not skip.weight_shape:
            return []
        return [SkipWeight(unit.name, task)]

    def _mixed_weight(self, name: str, role: Role, reader: Reader) -> Origin:
        if role == "static":
            return BackboneWeight(name)
        if role == "parameter":
            return BackboneWeight(name, reader.instance)
        # All options of a mixed node read one mixed input, so they have one set of statistics: the column's.
        origin = BackboneWeight(name, column=reader.task)
        self.statistics[BackboneWeight(name, reader.instance, reader.task)] = origin
        return origin

    def _ask(self, reader: Reader, values: Values) -> None:
        node = reader.node
        known = values
        if node in self._computing:
            # Not recorded among the column's values: another reader of the weight may run another instance.
            known = {**values, **self._computed_weights(reader)}
        inputs = tuple(known[name_of(value)] for value in data_inputs_of(node))
        narrowed = reader.span is not None and name_of(node) in reader.span.depthwise
        operation = BackboneNode(name_of(node), reader.channels if narrowed else 0)
        record(node, self._numbering.ask(operation, self._weights(node, reader), inputs), values)

    def _reader(self, node: ir.Node, option: Option, task: str, values: Values) -> Reader:
        span, channels = None, 0
        if option.channels != 1.0:
            unit = self._space.table.units[self._space.table.of_node[name_of(node)]]
            span = self._space.backbone.span(unit)
            channels = 0 if span is None else span.width(option.channels)
        instance = self._instance(node, option, task)
        # Of a block every option runs in one column, so its statistics say whose they are. The nodes of an operator
        # unit are mixed, and have one input whatever the option.
        in_block = self._space.table.granularity == "block"
        unit_instance = option.instance if in_block and self._is_per_task(node) else 0
        return Reader(node, instance, self._inputs(node, values), task, span, channels, unit_instance)

    def _instance(self, node: ir.Node, option: Option, task: str) -> int:
        if self._is_per_task(node):
            return 1 + self._space.tasks.index(task)  # instance 0 is everybody's
        return 0 if option.skip else option.instance

    def _is_per_task(self, node: ir.Node) -> bool:
        """Whether every task has its own instance of a normalisation, as in AutoMTL's release."""
        return node.op_type == "BatchNormalization" and self._space.batchnorm == "task"

    def _computed_weights(self, reader: Reader) -> Values:
        """Ask for what computes the weights of a node, and return what is computed."""
        found: Values = {}
        for node in self._computing[reader.node]:
            inputs = tuple(found[name_of(value)] for value in data_inputs_of(node))
            weights = self._weights(node, reader)
            record(node, self._numbering.ask(BackboneNode(name_of(node)), weights, inputs), found)
        return found

    def _weights(self, node: ir.Node, reader: Reader) -> tuple[Origin | Leading, ...]:
        # What computes a weight from stored tensors belongs to its reader, but a view cuts only the reader's own.
        cuts = reader.cuts if node is reader.node else {}
        weights = []
        for stored in self._stored[name_of(node)]:
            weights.append(self._weight(stored.name, stored.role, reader, cuts.get(stored.position)))
        return tuple(weights)

    def _weight(self, name: str, role: Role, reader: Reader, cut: int | None) -> Origin | Leading:
        if role == "static":
            return _cut(BackboneWeight(name), cut, reader.channels)
        if role == "parameter":
            weight = BackboneWeight(name, reader.instance)
            return _cut(weight if self._tied else self._copy(weight, reader), cut, reader.channels)
        # Statistics describe an input. Pooled over several, they fit none, and the deployed model is not the trained.
        # So those of a narrow map are no part of the wide map's. And where options are open, a column runs all widths
        # of a block: what lies behind their maps has as many inputs, of one shape.
        statistic = BackboneWeight(
            name,
            reader.instance,
            channels=reader.width,
            narrow=cut is not None,
            unit_instance=reader.unit_instance,
        )
        copy = self._copy(statistic, reader)
        self.statistics[replace(statistic, column=reader.task)] = copy
        return copy

    def _copy(self, weight: BackboneWeight, reader: Reader) -> BackboneWeight:
        node = name_of(reader.node)
        column = self._copies.copy(weight, node=node, inputs=reader.inputs, asker=reader.task)
        return replace(weight, column=column)

    def skip(self, index: int, x: Ref, task: str) -> Ref:
        """Ask for what stands in for a unit of which ``x`` is the input."""
        skip = self._space.table.skips[index]
        assert skip is not None
        if skip.is_identity:
            return x
        weights = (SkipWeight(self._space.table.units[index].name, task),) if skip.weight_shape else ()
        return self._numbering.ask(SkippedUnit(index), weights, (x,))

    def _inputs(self, node: ir.Node, values: Values) -> tuple[Ref, ...]:
        return tuple(values[name_of(value)] for value in image_inputs_of(node))


def _cut(origin: BackboneWeight, axis: int | None, channels: int) -> Origin | Leading:
    return origin if axis is None else Leading(origin, axis, channels)


def record(node: ir.Node, ref: Ref, values: Values) -> None:
    """Record the outputs of a node whose first one is ``ref``."""
    for index, value in enumerate(node.outputs):
        if value.name:
            values[value.name] = Ref(ref.cell, index)


def _stored_inputs(node: ir.Node) -> list[StoredInput]:
    found = []
    for position, value in enumerate(node.inputs):
        if value is not None and value.is_initializer():
            found.append(StoredInput(position, name_of(value), role_of(value)))
    return found
