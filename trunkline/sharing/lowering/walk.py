"""Walk a backbone for all tasks side by side, and number what they ask for.

All columns stand at the same node at any time, so a join can read several of them. A space with one option an entry
becomes the cells of a multi-task Graph; where several options are open, cells mix them, and a search runs them.

Two kinds of mixing are equal where a choice is one-hot. Of an *operator* unit every node mixes its own weights
(``MixedNode``): one convolution, whatever the options, as in AutoMTL. Of a *block* every option runs, and the results
are added up (``MixedValues``), as in BMTAS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import onnx_ir as ir

from trunkline.fragments.taps import read_taps
from trunkline.graph.computed_weights import computation_of, computes_weight, image_inputs_of
from trunkline.graph.graph import HEAD, JOIN, Graph, data_inputs_of, inputs_of, name_of
from trunkline.graph.roles import Role, role_of
from trunkline.sharing.join import Join, Read
from trunkline.sharing.lowering.copies import Copies
from trunkline.sharing.lowering.numbering import (
    IMAGE,
    BackboneNode,
    FragmentNode,
    MixedNode,
    MixedSource,
    MixedValues,
    Numbering,
    Ref,
    SkippedUnit,
)
from trunkline.sharing.origin import BackboneWeight, FragmentWeight, Leading, Origin, SkipWeight
from trunkline.sharing.space import ChoiceId, OpenJoin, Option, Space
from trunkline.sharing.view import ViewSpan

Values = dict[str, Ref]
ON = 1
"""The option of a read that is taken."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A node that reads weights for a task: of one instance, beside these inputs.

    Attributes:
        node: Node of the backbone.
        instance: Number of the weights' instance.
        inputs: What it reads that depends on the image; different inputs have statistics apart.
        task: Task whose column it runs in.
        span: What a view cuts, where one narrows the unit.
        channels: Channels of the view; 0 without one.
    """

    node: ir.Node
    instance: int
    inputs: tuple[Ref, ...]
    task: str
    span: ViewSpan | None = None
    channels: int = 0

    @property
    def cuts(self) -> Mapping[int, int | None]:
        """Axis along which a view cuts a stored input, by the input's position."""
        if self.span is None:
            return {}
        return self.span.cuts.get(name_of(self.node), {})


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


class Walk:
    """One walk over a space.

    Attributes:
        space: The space that is walked.
        numbering: The computations that columns asked for.
        statistics: Origin of the running statistic that a task's column reads, by its name in the backbone, instance,
            channels and task.
    """

    def __init__(self, space: Space, heads: Mapping[str, Graph], fragments: Mapping[str, Graph]) -> None:
        self.space = space
        self.numbering = Numbering()
        self.statistics: dict[tuple[str, int, int, str], Origin] = {}
        self._heads = heads
        self._fragments = fragments
        self._backbone = space.backbone.graph
        self._stored = {name_of(node): _stored_inputs(node) for node in self._backbone.nodes}
        self._computing = {node: chain for node in self._backbone.nodes if (chain := computation_of(node))}
        # The clones of an untied plan are made for a plan; while choices are open, each instance is one set of weights.
        self._tied = space.tie or bool(space.choices)
        self._copies = Copies()
        self._columns: dict[str, Values] = {task: {name_of(self._backbone.input): IMAGE} for task in space.tasks}
        self._replaced: dict[tuple[str, str], Ref] = {}
        self._joined: Values = {}
        self._taps: Values = {}
        self._joins: dict[str, list[OpenJoin]] = {}
        for join in space.joins:
            self._joins.setdefault(join.join.site, []).append(join)

    def run(self) -> dict[str, Ref]:
        """Return the value that is each task's output."""
        self._run_joins(name_of(self._backbone.input))
        for node in self._backbone.nodes:
            if computes_weight(node):
                continue  # whoever reads the weight asks for it, with the tensors of its own instance
            for task in self.space.tasks:
                self._run_node(node, task)
            for value in node.outputs:
                self._run_joins(value.name or "")
        return {task: self._output(task) for task in self.space.tasks}

    def _run_node(self, node: ir.Node, task: str) -> None:
        table, values = self.space.table, self._columns[task]
        index = table.of_node.get(name_of(node))
        if index is None:
            self._ask(Reader(node, 0, self._inputs(node, values), task), values)
            return
        unit = table.units[index]
        options = self.space.entries[unit.name][task]
        open_block = len(options) > 1 and table.granularity == "block"
        skipped = len(options) == 1 and options[0].skip
        # Such a unit runs as a whole, at its last node, when all that it reads is there. A node that only follows it
        # has a place elsewhere, and runs even where its unit is skipped.
        if name_of(node) in unit.nodes and (open_block or skipped):
            if name_of(node) == unit.nodes[-1]:
                self._run_unit(index, task, options, values)
        elif len(options) == 1:
            self._ask(self._reader(node, options[0], task, values), values)
        else:
            self._ask_mixed(node, index, task, options, values)

    def _run_unit(self, index: int, task: str, options: Sequence[Option], values: Values) -> None:
        """Run a whole unit at its last node: every option of a block, or what stands in for a unit that is skipped."""
        unit = self.space.table.units[index]
        results = [self._run_option(index, task, option, values) for option in options]
        if len(options) == 1:
            values[unit.output] = results[0][unit.output]
            return
        mixed = MixedValues(ChoiceId(unit.name, task), tuple(range(len(options))))
        for name in self._read_outside(index):
            values[name] = self.numbering.ask(mixed, (), tuple(result[name] for result in results))

    def _run_option(self, index: int, task: str, option: Option, values: Values) -> Values:
        unit = self.space.table.units[index]
        if option.skip:
            return {unit.output: self._skip(index, values[unit.input], task)}
        # Values of its own: those of the other options have the same names.
        local = {unit.input: values[unit.input]}
        for name in unit.nodes:
            self._ask(self._reader(self.space.backbone.nodes[name], option, task, local), local)
        return local

    def _read_outside(self, index: int) -> list[str]:
        """Return the values of a unit that others read: its output, and feature maps that lie in it."""
        unit = self.space.table.units[index]
        written: set[str] = set()
        for node in unit.nodes:
            written.update(map(name_of, self.space.backbone.nodes[node].outputs))
        taps = [name_of(value) for value in self._backbone.outputs if name_of(value) in written]
        return list(dict.fromkeys([unit.output, *taps]))

    def _ask_mixed(self, node: ir.Node, index: int, task: str, options: Sequence[Option], values: Values) -> None:
        """Ask for a node of an operator unit whose options are open.

        Options that run it with the same weights are one source: as convolution is linear in its weights, the node runs
        once, with the sum of the sources' weights, each times its options' probability.
        """
        inside = name_of(node) in self.space.table.units[index].nodes
        alike: dict[int | None, list[int]] = {}
        for number, option in enumerate(options):
            # A follower stays where its unit is skipped, and takes the shared instance there.
            source = None if option.skip and inside else self._instance(node, option, task)
            alike.setdefault(source, []).append(number)
        inputs = self._inputs(node, values)
        sources, weights, refs = [], [], list(inputs)
        for source, numbers in alike.items():
            found, computed = self._mixed_weights(node, index, source, inputs, task)
            sources.append(MixedSource(tuple(numbers), len(found), len(computed), skip=source is None))
            weights += found
            refs += computed
        choice = ChoiceId(self.space.table.units[index].name, task)
        operation = MixedNode(name_of(node), choice, tuple(sources))
        _record(node, self.numbering.ask(operation, tuple(weights), tuple(refs)), values)

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
        unit, skip = self.space.table.units[index], self.space.table.skips[index]
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
        self.statistics[name, reader.instance, 0, reader.task] = origin
        return origin

    def _ask(self, reader: Reader, values: Values) -> None:
        """Ask for a node whose weights are decided, and record its outputs."""
        node = reader.node
        known = values
        if node in self._computing:
            # Not recorded among the column's values: another reader of the weight may run another instance.
            known = {**values, **self._computed_weights(reader)}
        inputs = tuple(known[name_of(value)] for value in data_inputs_of(node))
        narrowed = reader.span is not None and name_of(node) in reader.span.depthwise
        operation = BackboneNode(name_of(node), reader.channels if narrowed else 0)
        _record(node, self.numbering.ask(operation, self._weights(node, reader), inputs), values)

    def _reader(self, node: ir.Node, option: Option, task: str, values: Values) -> Reader:
        span, channels = None, 0
        if option.channels != 1.0:
            unit = self.space.table.units[self.space.table.of_node[name_of(node)]]
            span = self.space.backbone.span(unit)
            channels = 0 if span is None else span.width(option.channels)
        return Reader(node, self._instance(node, option, task), self._inputs(node, values), task, span, channels)

    def _instance(self, node: ir.Node, option: Option, task: str) -> int:
        # AutoMTL's release: every task has its own normalisation. Instance 0 is everybody's, so theirs begin at 1.
        if node.op_type == "BatchNormalization" and self.space.batchnorm == "task":
            return 1 + self.space.tasks.index(task)
        return 0 if option.skip else option.instance

    def _computed_weights(self, reader: Reader) -> Values:
        """Ask for what computes the weights of a node, and return what is computed."""
        found: Values = {}
        for node in self._computing[reader.node]:
            inputs = tuple(found[name_of(value)] for value in data_inputs_of(node))
            weights = self._weights(node, reader)
            _record(node, self.numbering.ask(BackboneNode(name_of(node)), weights, inputs), found)
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
            column = "" if self._tied else self._copy(name, reader)
            return _cut(BackboneWeight(name, reader.instance, column), cut, reader.channels)
        # Statistics describe an input. Pooled over several, they fit none, and the deployed model is not the trained.
        channels = 0 if cut is None else reader.channels
        statistic = BackboneWeight(name, reader.instance, self._copy(name, reader, channels), channels)
        self.statistics[name, reader.instance, channels, reader.task] = statistic
        return statistic

    def _copy(self, name: str, reader: Reader, channels: int = 0) -> str:
        # The statistics of a narrow map are no part of the wide map's, even for one input.
        key = f"{name}:{channels}" if channels else name
        node = name_of(reader.node)
        return self._copies.copy(key, reader.instance, node=node, inputs=reader.inputs, task=reader.task)

    def _skip(self, index: int, x: Ref, task: str) -> Ref:
        skip = self.space.table.skips[index]
        assert skip is not None
        if skip.is_identity:
            return x
        weights = (SkipWeight(self.space.table.units[index].name, task),) if skip.weight_shape else ()
        return self.numbering.ask(SkippedUnit(index), weights, (x,))

    def _run_joins(self, site: str) -> None:
        """Run the joins behind a value; all of them read before any of them replaces one."""
        replaced: Values = {}
        for join in self._joins.get(site, ()):
            value = self._run_join(join)
            self._joined[join.join.name] = value
            if join.join.gives == "site":
                replaced[join.join.task] = value
            elif join.join.gives == "tap":
                self._taps[join.join.task] = value
        for task, value in replaced.items():
            # Later joins may read what the unit itself left here, before anything was joined to it.
            self._replaced[site, task] = self._columns[task][site]
            self._columns[task][site] = value

    def _run_join(self, open_join: OpenJoin) -> Ref:
        join = open_join.join
        reads = {number: self._read(read) for number, read in join.taken.items()}
        if open_join.open == "one":
            mixed = MixedValues(open_join.choices[0], tuple(reads))
            reads = {0: self.numbering.ask(mixed, (), tuple(reads.values()))}
        for choice in open_join.choices if open_join.open == "each" else ():
            assert choice.read is not None
            reads[choice.read] = self.numbering.ask(MixedValues(choice, (ON,)), (), (reads[choice.read],))
        fragment = self._fragments[join.weights_of]
        return self._run_fragment(JOIN, join.weights_of, fragment, list(reads.values()), join)

    def _read(self, read: Read) -> Ref:
        if read.join is not None:
            return self._joined[read.join]
        at, task = str(read.at), str(read.task)
        return self._replaced.get((at, task), self._columns[task][at])

    def _run_fragment(
        self, part: str, owner: str, fragment: Graph, reads: Sequence[Ref], join: Join | None = None
    ) -> Ref:
        names = [name_of(value) for value in fragment.model.graph.inputs]
        values = dict(zip(names, reads, strict=True))
        for node in fragment.nodes:
            inputs = tuple(values[name_of(value)] for value in data_inputs_of(node))
            stored = [value for value in inputs_of(node) if value.is_initializer()]
            weights = tuple(self._fragment_weight(part, owner, node, value, inputs, join) for value in stored)
            _record(node, self.numbering.ask(FragmentNode(part, owner, name_of(node)), weights, inputs), values)
        return values[name_of(fragment.outputs[0])]

    def _fragment_weight(
        self, part: str, owner: str, node: ir.Node, value: ir.Value, inputs: tuple[Ref, ...], join: Join | None
    ) -> FragmentWeight:
        """Joins of one owner share weights; the statistics of what each of them reads are apart."""
        if join is None or role_of(value) != "statistic":
            return FragmentWeight(part, owner, name_of(value))
        key = f"{part}/{owner}/{name_of(value)}"
        column = self._copies.copy(key, 0, node=name_of(node), inputs=inputs, task=join.task)
        return FragmentWeight(part, owner, name_of(value), column)

    def _output(self, task: str) -> Ref:
        taps = [self._columns[task][name_of(value)] for value in self._backbone.outputs]
        # A join that gives `tap` stands beside the column, as MTAN's attention does: the head reads it, nothing else.
        taps[-1] = self._taps.get(task, taps[-1])
        head = self._heads.get(task)
        if head is None:
            return taps[-1]
        return self._run_fragment(HEAD, task, head, [tap for _, tap in read_taps(head, taps)])

    def _inputs(self, node: ir.Node, values: Values) -> tuple[Ref, ...]:
        return tuple(values[name_of(value)] for value in image_inputs_of(node))


def _cut(origin: BackboneWeight, axis: int | None, channels: int) -> Origin | Leading:
    return origin if axis is None else Leading(origin, axis, channels)


def _record(node: ir.Node, ref: Ref, values: Values) -> None:
    for index, value in enumerate(node.outputs):
        if value.name:
            values[value.name] = Ref(ref.cell, index)


def _stored_inputs(node: ir.Node) -> list[StoredInput]:
    found = []
    for position, value in enumerate(node.inputs):
        if value is not None and value.is_initializer():
            found.append(StoredInput(position, name_of(value), role_of(value)))
    return found
