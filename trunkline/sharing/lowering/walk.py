"""Walk a backbone for all tasks side by side, and number what they ask for.

All columns stand at the same node at any time, so a join can read several of them. A space with one option an entry
becomes the cells of a multi-task Graph; where several options are open, cells mix them, and a search runs them.

Two kinds of mixing are equal where a choice is one-hot. Of an *operator* unit every node mixes its own weights
(``MixedNode``): one convolution, whatever the options, as in AutoMTL. Of a *block* every option runs, and the results
are added up (``MixedValues``), as in BMTAS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from trunkline.fragments.taps import read_taps
from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.graph import HEAD, JOIN, Graph, data_inputs_of, inputs_of, name_of
from trunkline.graph.roles import role_of
from trunkline.sharing.join import Join, Read
from trunkline.sharing.lowering.backbone_cells import BackboneCells, Values, record
from trunkline.sharing.lowering.copies import Copies
from trunkline.sharing.lowering.numbering import IMAGE, FragmentNode, MixedValues, Numbering, Ref
from trunkline.sharing.open_join import ChoiceId, OpenJoin
from trunkline.sharing.option import Option
from trunkline.sharing.origin import FragmentWeight
from trunkline.sharing.space import Space

ON = 1
"""The option of a read that is taken."""


class Walk:
    """One walk over a space.

    Attributes:
        space: The space that is walked.
        numbering: The computations that columns request.
        statistics: The running statistic that a task's column reads, by the same with that task for its column.
    """

    def __init__(self, space: Space, heads: Mapping[str, Graph], fragments: Mapping[str, Graph]) -> None:
        self.space = space
        self.numbering = Numbering()
        self._heads = heads
        self._fragments = fragments
        self._backbone = space.backbone.graph
        self._copies = Copies()
        self._cells = BackboneCells(space, self.numbering, self._copies)
        self.statistics = self._cells.statistics
        self._columns: dict[str, Values] = {task: {name_of(self._backbone.input): IMAGE} for task in space.tasks}
        self._replaced: dict[tuple[str, str], Ref] = {}
        self._joined: Values = {}
        self._taps: Values = {}
        self._joins: dict[str, list[OpenJoin]] = {}
        for join in space.joins:
            self._joins.setdefault(join.join.site, []).append(join)

    @property
    def columns(self) -> Mapping[str, Mapping[str, Ref]]:
        """The values of every task's column, by their names in the backbone, as far as the walk has come."""
        return self._columns

    def run(self) -> dict[str, Ref]:
        """Return the value that is each task's output."""
        self._run_joins(name_of(self._backbone.input))
        for node in self.space.backbone.needed:
            if computes_weight(node):
                continue  # whoever reads the weight asks for it, with the tensors of its own instance
            found = {task: self._run_node(node, task) for task in self.space.tasks}
            for task, values in found.items():
                # Only now, because a column may have gone on from what others had before this node.
                self._columns[task].update(values)
            for value in node.outputs:
                self._run_joins(value.name or "")
        return {task: self._output(task) for task in self.space.tasks}

    def _run_node(self, node: ir.Node, task: str) -> Values:
        """Ask for a node in a column; return what the column gets when all have asked."""
        table, values = self.space.table, self._columns[task]
        index = table.of_node.get(name_of(node))
        if index is None:
            self._cells.ask_free(node, task, values)
            return {}
        unit = table.units[index]
        options = self.space.entries[unit.name][task]
        open_block = len(options) > 1 and table.granularity == "block"
        skipped = len(options) == 1 and options[0].skip
        # Such a unit runs as a whole, at its last node, when all that it reads is there. A node that only follows it
        # has a place elsewhere, and runs even where its unit is skipped.
        if name_of(node) in unit.nodes and (open_block or skipped):
            return self._run_unit(index, task, options) if name_of(node) == unit.nodes[-1] else {}
        if len(options) == 1:
            self._cells.ask(node, options[0], task, values)
        else:
            self._cells.ask_mixed(node, index, task, options, values)
        return {}

    def _run_unit(self, index: int, task: str, options: Sequence[Option]) -> Values:
        """Run a whole unit at its last node: every option of a block, or what stands in for a unit that is skipped."""
        unit = self.space.table.units[index]
        results = [self._run_option(index, task, option) for option in options]
        if len(options) == 1:
            return {unit.output: results[0][unit.output]}
        mixed = MixedValues(ChoiceId(unit.name, task), tuple(range(len(options))))
        gained: Values = {}
        for name in self._read_outside(index, task):
            gained[name] = self.numbering.ask(mixed, (), tuple(result[name] for result in results))
        return gained

    def _run_option(self, index: int, task: str, option: Option) -> Values:
        unit = self.space.table.units[index]
        by_node = self.space.chosen_by == "node"
        # A node is one computation, whoever goes on from it: the instance, on what it has chosen itself.
        values = self._columns[self.space.tasks[option.instance] if by_node else task]
        skip = self.space.table.skips[index] if option.skip else None
        if skip is not None and skip.shortcut is None:
            return {unit.output: self._cells.skip(index, values[unit.input], task)}
        # Values of its own: those of the other options have the same names.
        local = {unit.input: values[unit.input]}
        for name in unit.nodes if skip is None else skip.kept:
            self._cells.ask(self.space.backbone.nodes[name], option, task, local)
        if skip is not None and skip.shortcut is not None:
            return {unit.output: local[skip.shortcut.output]}
        return {**values, **local} if by_node else local

    def _read_outside(self, index: int, task: str) -> list[str]:
        """Return the values of a unit that others read: its output, and feature maps that lie in it."""
        unit = self.space.table.units[index]
        written: set[str] = set()
        for node in unit.nodes:
            written.update(map(name_of, self.space.backbone.nodes[node].outputs))
        if self.space.chosen_by == "node":
            # Earlier maps too: a head reads all of its maps on one way from its leaf to the root.
            written.update(self._columns[task])
        taps = [name_of(value) for value in self._backbone.outputs if name_of(value) in written]
        return list(dict.fromkeys([unit.output, *taps]))

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
        reads = {number: self._value_read(read) for number, read in join.taken.items()}
        if open_join.open == "one":
            mixed = MixedValues(open_join.choices[0], tuple(reads))
            reads = {0: self.numbering.ask(mixed, (), tuple(reads.values()))}
        if open_join.open == "each":
            for choice in open_join.choices:
                assert choice.read is not None
                # "Off" adds nothing, so the value counts by the probability of "on".
                reads[choice.read] = self.numbering.ask(MixedValues(choice, (ON,)), (), (reads[choice.read],))
        fragment = self._fragments[join.weights_of]
        return self._run_fragment(JOIN, join.weights_of, fragment, list(reads.values()), join)

    def _value_read(self, read: Read) -> Ref:
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
            record(node, self.numbering.ask(FragmentNode(part, owner, name_of(node)), weights, inputs), values)
        return values[name_of(fragment.outputs[0])]

    def _fragment_weight(
        self, part: str, owner: str, node: ir.Node, value: ir.Value, inputs: tuple[Ref, ...], join: Join | None
    ) -> FragmentWeight:
        """Return the origin of what a fragment stores; joins of one owner share weights, but no statistics."""
        if join is None or role_of(value) != "statistic":
            return FragmentWeight(part, owner, name_of(value))
        shared = FragmentWeight(part, owner, name_of(value))
        # By join, not by task: one column may have several joins of an owner, each of which reads something else.
        first = self._copies.copy(shared, node=name_of(node), inputs=inputs, asker=join.name)
        return replace(shared, join=first)

    def _output(self, task: str) -> Ref:
        taps = [self._columns[task][name_of(value)] for value in self._backbone.outputs]
        # A join that gives `tap` stands beside the column, as MTAN's attention does: the head reads it, nothing else.
        taps[-1] = self._taps.get(task, taps[-1])
        head = self._heads.get(task)
        if head is None:
            return taps[-1]
        return self._run_fragment(HEAD, task, head, [tap for _, tap in read_taps(head, taps)])
