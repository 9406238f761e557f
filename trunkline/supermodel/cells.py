"""The cells of a walk as a computation in torch: the second back end, beside the emission of a Graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import onnx_ir as ir
from torch import Tensor, nn

from trunkline.graph.graph import Graph, name_of
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
from trunkline.sharing.origin import Leading, Origin
from trunkline.supermodel.cell_inputs import has_plain_weights, input_kinds, runs_of, sources_of
from trunkline.supermodel.cell_steps import CellStep, ForwardPass, Mixing, NodeStep, SkipStep, SumStep, Values
from trunkline.supermodel.mixed_steps import ElementStep, MatrixStep, MixedStep, NormStep
from trunkline.supermodel.mixing.linear_operator import Geometry, geometry_of
from trunkline.supermodel.mixing.mixed_kernel import Mixture
from trunkline.twins.op import Op
from trunkline.twins.registry import make_op

Place = Callable[[Origin | Leading], Origin | Leading]
"""Where a weight is kept, by what a cell asks for."""
_ScheduledStep = tuple[int, CellStep, tuple[Ref, ...]]
"""Number of the cell, its step, and the values that may be dropped behind it."""


class Operators(nn.ModuleDict):
    """The twins of all nodes that cells may run, made at first use; they hold no weights, so cells share them."""

    def __init__(self, backbone: Backbone, fragments: Mapping[tuple[str, str], Graph]) -> None:
        super().__init__()
        self._backbone = backbone
        self._fragments: dict[tuple[str, str], dict[str, ir.Node]] = {}
        for key, fragment in fragments.items():
            self._fragments[key] = {name_of(node): node for node in fragment.nodes}
        self._names: dict[BackboneNode | FragmentNode, str] = {}

    def node(self, operation: BackboneNode | FragmentNode) -> ir.Node:
        """Return the node that an operation runs."""
        if isinstance(operation, BackboneNode):
            return self._backbone.nodes[operation.name]
        return self._fragments[operation.part, operation.owner][operation.name]

    def of(self, operation: BackboneNode | FragmentNode) -> Op:
        """Return its twin."""
        if operation not in self._names:
            self._names[operation] = str(len(self))
            op = make_op(self.node(operation))
            if isinstance(operation, BackboneNode) and operation.groups:
                # A view of a depthwise convolution: as many groups as it has channels, fewer than the node has.
                op.function = partial(op.function, groups=operation.groups)
            # A new module trains, but a node of a plan may be met first in an evaluation.
            op.train(self.training)
            self[self._names[operation]] = op
        found = self[self._names[operation]]
        assert isinstance(found, Op)
        return found


class Cells:
    """Runs numbered cells.

    Args:
        numbering: Holds the cells, in an order in which they can run.
        outputs: The value that is each task's output.
        operators: Twins of their nodes.
        table: Units, whose skips stand in for them.
        place: Where each weight is kept.
        mixing: How the options of operator units are mixed.
    """

    def __init__(
        self,
        numbering: Numbering,
        outputs: Mapping[str, Ref],
        operators: Operators,
        table: UnitTable,
        place: Place,
        mixing: Mixing = "weight",
    ) -> None:
        self._outputs = outputs
        self._served = numbering.served(outputs)
        self._reads = [cell.inputs for cell in numbering.cells]
        maker = _StepMaker(operators, table, place, mixing)
        self._steps: list[CellStep | None] = []
        for cell, tasks in zip(numbering.cells, self._served, strict=True):
            # What serves no task, such as a map behind the last one that a head reads, has no step.
            self._steps.append(maker.step(cell) if tasks else None)
        self._scheduled: dict[tuple[str, ...], list[_ScheduledStep]] = {}

    def run(self, image: Tensor, tasks: Sequence[str], now: ForwardPass) -> dict[str, Tensor]:
        """Return the outputs of ``tasks`` for images ``[N, C, H, W]``, computing only what they need."""
        values = now.values
        values[IMAGE] = image
        for index, step, drops in self._schedule(tuple(tasks)):
            _keep(values, index, step.run(now))
            for ref in drops:
                values.pop(ref, None)
        return {task: values[self._outputs[task]] for task in tasks}

    def _schedule(self, tasks: tuple[str, ...]) -> list[_ScheduledStep]:
        """Return the steps that some tasks need, each with the values that nothing later reads."""
        if tasks not in self._scheduled:
            # From the end: whoever is first met reading a value is its last reader, and may drop it.
            read_later = {self._outputs[task] for task in tasks}
            chosen: list[_ScheduledStep] = []
            for index in reversed(range(len(self._steps))):
                step = self._steps[index]
                if step is None or set(self._served[index]).isdisjoint(tasks):
                    continue
                drops = tuple(ref for ref in dict.fromkeys(self._reads[index]) if ref not in read_later)
                read_later.update(drops)
                chosen.append((index, step, drops))
            self._scheduled[tasks] = chosen[::-1]
        return self._scheduled[tasks]


class _StepMaker:
    """Makes the step of each cell."""

    def __init__(self, operators: Operators, table: UnitTable, place: Place, mixing: Mixing) -> None:
        self._operators = operators
        self._table = table
        self._place = place
        self._mixing = mixing

    def step(self, cell: Cell) -> CellStep:
        """Return the step of a cell."""
        weights = tuple(self._place(weight) for weight in cell.weights)
        match cell.operation:
            case SkippedUnit(unit):
                skip = self._table.skips[unit]
                assert skip is not None
                return SkipStep(skip, cell.inputs[0], weights[0] if weights else None)
            case MixedValues(choice, options):
                return SumStep(choice, options, cell.inputs)
            case MixedNode():
                return self._mixed(cell, cell.operation, weights)
            case BackboneNode() | FragmentNode():
                node = self._operators.node(cell.operation)
                return NodeStep(self._operators.of(cell.operation), sources_of(node, weights, cell.inputs))

    def _mixed(self, cell: Cell, operation: MixedNode, weights: Sequence[Origin | Leading]) -> MixedStep:
        base = BackboneNode(operation.name)
        node, op = self._operators.node(base), self._operators.of(base)
        runs, skip = runs_of(operation.sources, weights, cell.inputs, input_kinds(node))
        common = (operation.choice, op, cell.inputs[0], runs, skip)
        if node.op_type == "BatchNormalization":
            return NormStep(*common, self._mixing)
        unit = self._table.of_node[operation.name]
        if operation.name != self._table.names[unit]:
            return ElementStep(*common, self._mixing)
        own_skip = self._table.skips[unit] if skip is not None else None
        has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
        geometry = geometry_of(node) if has_plain_weights(node) else None
        # Where weights cannot be mixed, as for a bias that is computed from the image, outputs are. That reads no
        # geometry; any will do.
        mixing: Mixing = "output" if geometry is None else self._mixing
        return MatrixStep(*common, mixing, Mixture(geometry or Geometry(), own_skip), has_bias)


def _keep(values: Values, index: int, result: Tensor | tuple[Tensor, ...]) -> None:
    if isinstance(result, Tensor):
        values[Ref(index)] = result
    else:
        values.update({Ref(index, position): output for position, output in enumerate(result)})
