"""The steps of a search supermodel's forward pass: what each node of the backbone becomes.

* :class:`PlainStep` runs a node that no choice governs (activation, pooling, addition, a head's layer).
* :class:`MatrixStep` is AutoMTL's Virtual Computation Node: shared operator, own copy and skip, mixed.
* :class:`NormStep` and :class:`ElementStep` are weighted nodes that take a unit's choice, as its tail (skipped
  with it) or as a follower (shared where it is skipped).

Steps hold no weights. They read them by name from a :data:`Weights` function, so that a weight used twice is
one parameter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir
import torch
from torch import Tensor, nn

from trunkline.ingest.graph import attribute, name_of
from trunkline.ingest.parameters import is_static_input
from trunkline.supermodel.choice import OWN, SHARED, SKIPPED
from trunkline.supermodel.geometry import geometry_of
from trunkline.supermodel.gradient_sum import SummedWeights
from trunkline.supermodel.linear_operator import apply_skip
from trunkline.supermodel.mixed_kernel import Kernels, Mixture
from trunkline.supermodel.mixing import mixed_linear
from trunkline.supermodel.naming import instance_name, is_instanced, skip_weight_name
from trunkline.supermodel.normalisation import BatchNormWeights, mixed_batch_norm
from trunkline.supermodel.skip import Skip
from trunkline.supermodel.twins.ops.normalisation import require_spread
from trunkline.supermodel.twins.registry import make_op

Mixing = Literal["weight", "output"]
Weights = Callable[[str], Tensor]
Values = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Column:
    """One task's pass through the supermodel.

    Attributes:
        task: The task's index.
        rows: Option weights of each unit, ``[3]``.
        shares: The same, option by option.
        hard: Whether the weights are one-hot, so that only the chosen option need run.
        summed: Shared kernels, as all columns of a forward pass read them.
    """

    task: int
    rows: tuple[Tensor, ...]
    shares: tuple[tuple[Tensor, ...], ...]
    hard: bool
    summed: SummedWeights

    @classmethod
    def of(cls, task: int, p: Tensor, summed: SummedWeights, *, hard: bool) -> Column:
        """Take apart option weights ``[units, 3]`` once: many small look-ups would cost as many backward nodes."""
        rows = p.unbind(0)
        return cls(task, rows, tuple(row.unbind(0) for row in rows), hard, summed)

    @property
    def own(self) -> int:
        """The weight instance that is this task's own."""
        return self.task + 1


class Step(nn.Module, ABC):
    """A node with its twin; subclasses say how a column runs it."""

    def __init__(self, node: ir.Node, prefix: str = "") -> None:
        super().__init__()
        self.name = name_of(node)
        self.op = make_op(node)
        self.reads = [None if v is None or v.is_initializer() else prefix + name_of(v) for v in node.inputs]
        self.stored = [
            prefix + name_of(value)
            if value is not None and value.is_initializer() and not is_static_input(node, index)
            else None
            for index, value in enumerate(node.inputs)
        ]
        self.instanced = [is_instanced(v) for v in node.inputs]
        self.writes = [prefix + v.name for v in node.outputs if v.name]

    @abstractmethod
    def run(self, values: Values, column: Column, weights: Weights) -> None:
        """Read inputs from ``values`` and write the outputs there."""

    def apply_instance(self, values: Values, weights: Weights, instance: int) -> Tensor | tuple[Tensor, ...]:
        """Run the node's twin with one weight instance."""
        inputs: list[Tensor | None] = []
        for read, stored, instanced in zip(self.reads, self.stored, self.instanced, strict=True):
            if read is not None:
                inputs.append(values[read])
            elif stored is not None:
                inputs.append(weights(instance_name(stored, instance) if instanced else stored))
            else:
                inputs.append(None)
        result: Tensor | tuple[Tensor, ...] = self.op(*inputs)
        return result

    def write(self, values: Values, result: Tensor | tuple[Tensor, ...]) -> None:
        """Store the outputs under their names."""
        results = result if isinstance(result, tuple) else (result,)
        values.update(zip(self.writes, results, strict=False))


class PlainStep(Step):
    """A node that is the same for every task."""

    def run(self, values: Values, column: Column, weights: Weights) -> None:
        """Run the node; see :class:`Step`."""
        self.write(values, self.apply_instance(values, weights, 0))


class ChoiceStep(Step):
    """A weighted node governed by unit ``unit``; ``skippable`` if it vanishes with it."""

    def __init__(self, node: ir.Node, unit: int, *, skippable: bool) -> None:
        super().__init__(node)
        self.unit = unit
        self.skippable = skippable

    def run(self, values: Values, column: Column, weights: Weights) -> None:
        """Run the node; see :class:`Step`."""
        if column.hard:
            self.write(values, self.run_chosen(values, column, weights))
        else:
            self.write(values, self.run_mixed(values, column, weights))

    def run_chosen(self, values: Values, column: Column, weights: Weights) -> Tensor | tuple[Tensor, ...]:
        """Run the one option that is chosen."""
        choice = int(column.rows[self.unit].argmax())
        if choice == SKIPPED and self.skippable:
            return self.skipped(values, column, weights)
        return self.apply_instance(values, weights, column.own if choice == OWN else 0)

    def skipped(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Return what the node gives when its unit is skipped: a tail passes its input on."""
        return values[self.data]

    def run_mixed(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Run every option and mix the outputs."""
        shared, own = self.shares(column)
        y = shared * self._single(values, weights, 0) + own * self._single(values, weights, column.own)
        return y + column.shares[self.unit][SKIPPED] * self.skipped(values, column, weights) if self.skippable else y

    def shares(self, column: Column) -> tuple[Tensor, Tensor]:
        """Return the weights of the shared and the own instance; a follower is shared where its unit is skipped."""
        p = column.shares[self.unit]
        return (p[SHARED] if self.skippable else p[SHARED] + p[SKIPPED]), p[OWN]

    @property
    def data(self) -> str:
        """Name of the value that the node transforms."""
        return next(read for read in self.reads if read is not None)

    def _single(self, values: Values, weights: Weights, instance: int) -> Tensor:
        result = self.apply_instance(values, weights, instance)
        return result if isinstance(result, Tensor) else result[0]


class ElementStep(ChoiceStep):
    """A weighted node that is cheap to run twice: scale, offset, PReLU."""


class MatrixStep(ChoiceStep):
    """AutoMTL's Virtual Computation Node: a convolution or linear layer with its options."""

    def __init__(self, node: ir.Node, unit: int, skip: Skip | None, mixing: Mixing) -> None:
        super().__init__(node, unit, skippable=skip is not None)
        self.skip = skip
        geometry = geometry_of(node) if mixing == "weight" else None
        self.mixture = None if geometry is None else Mixture(geometry, skip)
        kernel, bias = self.stored[1], self.stored[2] if len(self.stored) > 2 else None
        if kernel is None or (len(self.stored) > 2 and self.reads[2] is not None):
            self.mixture = None
        self._kernel, self._bias = kernel, bias

    def run_mixed(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Return the mix of all options."""
        if self.mixture is None or self._kernel is None:
            return super().run_mixed(values, column, weights)
        p = column.shares[self.unit]
        bias = None
        if self._bias is not None:
            bias = p[SHARED] * weights(self._bias) + p[OWN] * weights(instance_name(self._bias, column.own))
        shared, total = column.summed.read(self._kernel, weights(self._kernel))
        own = weights(instance_name(self._kernel, column.own))
        kernels = Kernels(shared, own, self._projection(column, weights))
        return mixed_linear(self.mixture, values[self.data], column.rows[self.unit], kernels, bias, total)

    def skipped(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Return the skip's own result."""
        assert self.skip is not None
        return apply_skip(self.skip, values[self.data], self._projection(column, weights))

    def _projection(self, column: Column, weights: Weights) -> Tensor | None:
        if self.skip is None or not self.skip.weight_shape:
            return None
        return weights(skip_weight_name(self.name, column.own))


class NormStep(ChoiceStep):
    """A BatchNormalization that takes its unit's choice (``tied``), or is each task's own (``task``)."""

    def __init__(self, node: ir.Node, unit: int, *, skippable: bool, mixing: Mixing, per_task: bool) -> None:
        super().__init__(node, unit, skippable=skippable)
        self.epsilon = float(attribute(node, "epsilon", 1e-5))
        self.momentum = float(attribute(node, "momentum", 0.9))
        self.mixing = mixing
        self.per_task = per_task

    def run_chosen(self, values: Values, column: Column, weights: Weights) -> Tensor | tuple[Tensor, ...]:
        """Run the one option that is chosen."""
        if self.per_task and not (self.skippable and int(column.rows[self.unit].argmax()) == SKIPPED):
            return self.apply_instance(values, weights, column.own)
        return super().run_chosen(values, column, weights)

    def run_mixed(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Return the mix of all options."""
        if self.mixing == "output" and not self.per_task:
            return super().run_mixed(values, column, weights)
        if self.training:
            require_spread(values[self.data], place=self.name)
        shared, own = self.shares(column)
        instances = [self._instance(weights, k) for k in ((column.own,) if self.per_task else (0, column.own))]
        y = mixed_batch_norm(
            values[self.data],
            [shared + own] if self.per_task else [shared, own],
            instances,
            epsilon=self.epsilon,
            momentum=self.momentum,
            training=self.training,
        )
        return torch.addcmul(y, values[self.data], column.shares[self.unit][SKIPPED]) if self.skippable else y

    def _instance(self, weights: Weights, instance: int) -> BatchNormWeights:
        names: Sequence[str] = [name for name in self.stored if name is not None]
        return BatchNormWeights(*(weights(instance_name(name, instance)) for name in names))
