"""One task's pass through the supermodel, and which weights it reads.

A weight may be computed (:mod:`trunkline.graph.computed_weights`). To a step it is like a stored one: a column
that runs its own copy of a unit computes it from its own copies, and the gradient goes on to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir
from torch import Tensor, nn

from trunkline.graph.computed_weights import computation_behind, is_computed_weight
from trunkline.graph.graph import name_of
from trunkline.graph.roles import Role, is_static_input, role_of
from trunkline.sharing.origin import BackboneWeight, HeadWeight, Origin
from trunkline.supermodel.mixing.gradient_sum import SummedWeights
from trunkline.twins.registry import make_op

Weights = Callable[[Origin], Tensor]


@dataclass(frozen=True, slots=True)
class Column:
    """One task's pass through the supermodel.

    Attributes:
        name: The task's name.
        task: The task's index.
        rows: Option weights of each unit, ``[3]``.
        shares: The same, option by option.
        hard: Whether the weights are one-hot, so that only the chosen option need run.
        summed: Shared kernels, as all columns of a forward pass read them.
        leaders: By node, the column whose running statistics are read in place of this one's.
    """

    name: str
    task: int
    rows: tuple[Tensor, ...]
    shares: tuple[tuple[Tensor, ...], ...]
    hard: bool
    summed: SummedWeights
    leaders: Mapping[str, str]

    @classmethod
    def of(
        cls, name: str, task: int, p: Tensor, summed: SummedWeights, *, hard: bool, leaders: Mapping[str, str]
    ) -> Column:
        """Take apart option weights ``[units, 3]`` once: many small look-ups would cost as many backward nodes."""
        rows = p.unbind(0)
        return cls(name, task, rows, tuple(row.unbind(0) for row in rows), hard, summed, leaders)

    @property
    def own(self) -> int:
        """The weight instance that is this task's own."""
        return self.task + 1


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored input of a node of the backbone, or of the head of task ``head``."""

    name: str
    role: Role
    node: str
    head: str = ""

    def origin(self, column: Column, instance: int) -> Origin:
        """Return which tensor a column reads that runs ``instance``."""
        if self.head:
            return HeadWeight(self.head, self.name)
        if self.role == "statistic":
            return BackboneWeight(self.name, column=column.leaders.get(self.node, column.name))
        return BackboneWeight(self.name, instance if self.role == "parameter" else 0)

    def read(self, column: Column, weights: Weights, instance: int) -> Tensor:
        """Return that tensor."""
        return weights(self.origin(column, instance))


class Computed(nn.Module):
    """A computed weight that a node of the backbone reads, or of the head of task ``head``."""

    def __init__(self, value: ir.Value, node: str, head: str = "") -> None:
        super().__init__()
        nodes = computation_behind([value])
        self.name = name_of(value)
        self.operators = nn.ModuleList(make_op(before) for before in nodes)
        self._reads = [[_read(before, index, node, head) for index in range(len(before.inputs))] for before in nodes]
        self._writes = [[output.name or "" for output in before.outputs] for before in nodes]

    def read(self, column: Column, weights: Weights, instance: int) -> Tensor:
        """Compute the weight of an instance for a column."""
        values: dict[str, Tensor] = {}
        for operator, reads, writes in zip(self.operators, self._reads, self._writes, strict=True):
            result = operator(*(_taken(item, values, column, weights, instance) for item in reads))
            values.update(zip(writes, (result,) if isinstance(result, Tensor) else result, strict=False))
        return values[self.name].contiguous()


WeightInput = Stored | Computed


def _taken(
    item: Stored | str | None, values: Mapping[str, Tensor], column: Column, weights: Weights, instance: int
) -> Tensor | None:
    if item is None:
        return None
    return values[item] if isinstance(item, str) else item.read(column, weights, instance)


def weight_input(node: ir.Node, index: int, head: str = "") -> WeightInput | None:
    """Return input ``index`` of ``node`` if it is a weight, stored or computed, or a constant it computes with."""
    value = node.inputs[index]
    if value is None or is_static_input(node, index):
        return None
    if value.is_initializer():
        return Stored(name_of(value), role_of(value), name_of(node), head)
    return Computed(value, name_of(node), head) if is_computed_weight(value) else None


def _read(before: ir.Node, index: int, node: str, head: str) -> Stored | str | None:
    """Return what a step of a computation reads: a stored tensor, on behalf of ``node``, or a value before it."""
    value = before.inputs[index]
    if value is None or is_static_input(before, index):
        return None
    return Stored(name_of(value), role_of(value), node, head) if value.is_initializer() else name_of(value)
