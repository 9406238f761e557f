"""The cells of a walk as a computation in torch: the second back end, beside the emission of a Graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import onnx_ir as ir
from torch import Tensor, nn

from trunkline.graph.computed_weights import depends_on_image, is_computed_weight
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import is_static_input
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
from trunkline.supermodel.cell_steps import (
    CellStep,
    ElementStep,
    ForwardPass,
    InputKind,
    MatrixStep,
    MixedStep,
    Mixing,
    NodeStep,
    NormStep,
    SkipStep,
    Source,
    SumStep,
    Values,
    runs_of,
)
from trunkline.supermodel.mixing.linear_operator import Geometry, geometry_of
from trunkline.supermodel.mixing.mixed_kernel import Mixture
from trunkline.twins.op import Op
from trunkline.twins.registry import make_op

Place = Callable[[Origin | Leading], Origin | Leading]
"""Where a weight is kept, by what a cell asks for."""


class Operators(nn.ModuleDict):
    """The twins of all nodes that cells may run, made at first use; they hold no weights, so cells share them."""

    def __init__(self, backbone: Backbone, fragments: Mapping[tuple[str, str], Graph]) -> None:
        super().__init__()
        self._backbone = backbone
        self._fragments = {key: {name_of(node): node for node in made.nodes} for key, made in fragments.items()}
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
                op.function = partial(op.function, groups=operation.groups)  # a view of a depthwise convolution
            op.train(self.training)
            self[self._names[operation]] = op
        found = self[self._names[operation]]
        assert isinstance(found, Op)
        return found


class Cells:
    """Runs numbered cells.

    Args:
        numbering: The cells.
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
        self._steps = [
            maker.step(cell) if tasks else None for cell, tasks in zip(numbering.cells, self._served, strict=True)
        ]
        self._plans: dict[tuple[str, ...], list[tuple[int, CellStep, tuple[Ref, ...]]]] = {}

    def run(self, image: Tensor, tasks: Sequence[str], now: ForwardPass) -> dict[str, Tensor]:
        """Return the outputs of ``tasks`` for images ``[N, C, H, W]``, computing only what they need."""
        values = now.values
        values[IMAGE] = image
        for index, step, drops in self._plan(tuple(tasks)):
            _keep(values, index, step.run(now))
            for ref in drops:
                values.pop(ref, None)
        return {task: values[self._outputs[task]] for task in tasks}

    def _plan(self, tasks: tuple[str, ...]) -> list[tuple[int, CellStep, tuple[Ref, ...]]]:
        """Return the steps that some tasks need, each with the values that nothing later reads."""
        if tasks not in self._plans:
            kept = {self._outputs[task] for task in tasks}
            chosen: list[tuple[int, CellStep, tuple[Ref, ...]]] = []
            for index in range(len(self._steps) - 1, -1, -1):
                step = self._steps[index]
                if step is None or not set(self._served[index]) & set(tasks):
                    continue
                drops = tuple(ref for ref in dict.fromkeys(self._reads[index]) if ref not in kept)
                kept.update(drops)
                chosen.append((index, step, drops))
            self._plans[tasks] = chosen[::-1]
        return self._plans[tasks]


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
                return NodeStep(self._operators.of(cell.operation), _sources(node, weights, cell.inputs))

    def _mixed(self, cell: Cell, operation: MixedNode, weights: Sequence[Origin | Leading]) -> MixedStep:
        base = BackboneNode(operation.name)
        node, op = self._operators.node(base), self._operators.of(base)
        runs, skip = runs_of(operation.sources, weights, cell.inputs, _layout(node))
        common = (operation.choice, op, cell.inputs[0], runs, skip, self._mixing)
        if node.op_type == "BatchNormalization":
            return NormStep(*common)
        unit = self._table.of_node[operation.name]
        if operation.name != self._table.names[unit]:
            return ElementStep(*common)
        geometry = geometry_of(node) if _has_plain_weights(node) else None
        # Where weights cannot be mixed, as for a bias that is computed from the image, outputs are.
        mixing: Mixing = "output" if geometry is None else self._mixing
        mixture = Mixture(geometry or Geometry(), self._table.skips[unit] if skip is not None else None)
        has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
        return MatrixStep(*common[:-1], mixing, mixture, has_bias)


def _sources(node: ir.Node, weights: Sequence[Origin | Leading], inputs: Sequence[Ref]) -> tuple[Source, ...]:
    """Return where each input of a node comes from; a setting is read when the twin is built, not when it runs."""
    stored, values = iter(weights), iter(inputs)
    sources: list[Source] = []
    for kind in _layout(node):
        if kind in ("stored", "setting"):
            weight = next(stored)
            sources.append(weight if kind == "stored" else None)
        else:
            sources.append(None if kind == "none" else next(values))
    return tuple(sources)


def _layout(node: ir.Node) -> tuple[InputKind, ...]:
    return tuple(_kind(node, index) for index in range(len(node.inputs)))


def _kind(node: ir.Node, index: int) -> InputKind:
    value = node.inputs[index]
    if value is None:
        return "none"
    if value.is_initializer():
        return "setting" if is_static_input(node, index) else "stored"
    return "computed" if is_computed_weight(value) else "data"


def _has_plain_weights(node: ir.Node) -> bool:
    """Whether a unit's kernel and bias are weights, stored or computed, and its first input is the data."""
    kernel, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    return kernel is not None and not depends_on_image(kernel) and (bias is None or not depends_on_image(bias))


def _keep(values: Values, index: int, result: Tensor | tuple[Tensor, ...]) -> None:
    if isinstance(result, Tensor):
        values[Ref(index)] = result
    else:
        values.update({Ref(index, position): output for position, output in enumerate(result)})
