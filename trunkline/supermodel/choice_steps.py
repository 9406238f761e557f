"""The steps of a search supermodel's forward pass: what each node of the backbone becomes.

* :class:`PlainStep` runs a node that no choice governs (activation, pooling, addition, a head's layer).
* :class:`MatrixStep` is AutoMTL's Virtual Computation Node: shared operator, own copy and skip, mixed.
* :class:`NormStep` and :class:`ElementStep` are weighted nodes that take a unit's choice, as its tail (skipped
  with it) or as a follower (shared where it is skipped).

Steps hold no weights. They read them by origin (:mod:`trunkline.supermodel.column`), so that a weight used twice is
one parameter. Running statistics belong to a task's column, whatever it chose: they describe what the column feeds
to the node, and that is another input for every task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import onnx_ir as ir
import torch
from torch import Tensor, nn

from trunkline.graph.computed_weights import image_inputs_of
from trunkline.graph.graph import name_of
from trunkline.sharing.origin import SkipWeight, head_name
from trunkline.sharing.skip import Skip
from trunkline.supermodel.choice import OWN, SHARED, SKIPPED
from trunkline.supermodel.column import Column, Computed, WeightInput, Weights, weight_input
from trunkline.supermodel.mixing.geometry import geometry_of
from trunkline.supermodel.mixing.gradient_sum import GradientSum
from trunkline.supermodel.mixing.linear_operator import apply_skip
from trunkline.supermodel.mixing.mixed_kernel import Kernels, Mixture
from trunkline.supermodel.mixing.mixed_linear import mixed_linear
from trunkline.twins.op import Op
from trunkline.twins.registry import make_op

Mixing = Literal["weight", "output"]
Values = dict[str, Tensor]


class Step(nn.Module, ABC):
    """A node with its twin; subclasses say how a column runs it. ``head`` is the task whose head it belongs to."""

    def __init__(self, node: ir.Node, head: str = "") -> None:
        super().__init__()
        self.name = name_of(node)
        self.op = make_op(node)
        prefix = head_name(head, "") if head else ""
        images = set(image_inputs_of(node))
        self.reads = [prefix + name_of(value) if value in images else None for value in node.inputs]
        self.stored = [weight_input(node, index, head) for index in range(len(node.inputs))]
        self.computed = nn.ModuleList(item for item in self.stored if isinstance(item, Computed))
        self.writes = [prefix + v.name for v in node.outputs if v.name]

    @abstractmethod
    def run(self, values: Values, column: Column, weights: Weights) -> None:
        """Read inputs from ``values`` and write the outputs there."""

    def inputs(self, values: Values, column: Column, weights: Weights, instance: int) -> list[Tensor | None]:
        """Return the node's inputs in ONNX order, with the weights of one instance."""
        inputs: list[Tensor | None] = []
        for read, stored in zip(self.reads, self.stored, strict=True):
            if read is not None:
                inputs.append(values[read])
            elif stored is not None:
                inputs.append(stored.read(column, weights, instance))
            else:
                inputs.append(None)
        return inputs

    def apply_instance(
        self, values: Values, column: Column, weights: Weights, instance: int
    ) -> Tensor | tuple[Tensor, ...]:
        """Run the node's twin with one weight instance."""
        result: Tensor | tuple[Tensor, ...] = self.op(*self.inputs(values, column, weights, instance))
        return result

    def write(self, values: Values, result: Tensor | tuple[Tensor, ...]) -> None:
        """Store the outputs under their names."""
        results = result if isinstance(result, tuple) else (result,)
        values.update(zip(self.writes, results, strict=False))


class PlainStep(Step):
    """A node that is the same for every task."""

    def run(self, values: Values, column: Column, weights: Weights) -> None:
        """Run the node; see :class:`Step`."""
        self.write(values, self.apply_instance(values, column, weights, 0))


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
        return self.apply_instance(values, column, weights, column.own if choice == OWN else 0)

    def skipped(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Return what the node gives when its unit is skipped: a tail passes its input on."""
        return values[self.data]

    def run_mixed(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Run every option and mix the outputs."""
        shared, own = self.shares(column)
        y = shared * self._single(values, column, weights, 0) + own * self._single(values, column, weights, column.own)
        return y + column.shares[self.unit][SKIPPED] * self.skipped(values, column, weights) if self.skippable else y

    def shares(self, column: Column) -> tuple[Tensor, Tensor]:
        """Return the weights of the shared and the own instance; a follower is shared where its unit is skipped."""
        p = column.shares[self.unit]
        return (p[SHARED] if self.skippable else p[SHARED] + p[SKIPPED]), p[OWN]

    @property
    def data(self) -> str:
        """Name of the value that the node transforms."""
        return next(read for read in self.reads if read is not None)

    def _single(self, values: Values, column: Column, weights: Weights, instance: int) -> Tensor:
        result = self.apply_instance(values, column, weights, instance)
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
            biases = [self._bias.read(column, weights, instance) for instance in (0, column.own)]
            bias = p[SHARED] * biases[0] + p[OWN] * biases[1]
        shared, total = self._shared_kernel(self._kernel, column, weights)
        own = self._kernel.read(column, weights, column.own)
        kernels = Kernels(shared, own, self._projection(column, weights))
        return mixed_linear(self.mixture, values[self.data], column.rows[self.unit], kernels, bias, total)

    @staticmethod
    def _shared_kernel(kernel: WeightInput, column: Column, weights: Weights) -> tuple[Tensor, GradientSum | None]:
        """Return the shared kernel and where its gradient is added up.

        What a kernel is computed by has a backward pass of its own, which each column's loss must be free to run.
        """
        shared = kernel.read(column, weights, 0)
        return (shared, None) if isinstance(kernel, Computed) else column.summed.read(kernel.name, shared)

    def skipped(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Return the skip's own result."""
        assert self.skip is not None
        return apply_skip(self.skip, values[self.data], self._projection(column, weights))

    def _projection(self, column: Column, weights: Weights) -> Tensor | None:
        if self.skip is None or not self.skip.weight_shape:
            return None
        return weights(SkipWeight(self.name, column.name))


class NormStep(ChoiceStep):
    """A BatchNormalization that takes its unit's choice (``tied``), or is each task's own (``task``)."""

    def __init__(self, node: ir.Node, unit: int, *, skippable: bool, mixing: Mixing, per_task: bool) -> None:
        super().__init__(node, unit, skippable=skippable)
        self.mixing = mixing
        self.per_task = per_task

    def run_chosen(self, values: Values, column: Column, weights: Weights) -> Tensor | tuple[Tensor, ...]:
        """Run the one option that is chosen."""
        if self.per_task and not (self.skippable and int(column.rows[self.unit].argmax()) == SKIPPED):
            return self.apply_instance(values, column, weights, column.own)
        return super().run_chosen(values, column, weights)

    def run_mixed(self, values: Values, column: Column, weights: Weights) -> Tensor:
        """Return the mix of all options: Σ_k p_k·BN_k(x)."""
        shared, own = self.shares(column)
        options = [(shared + own, column.own)] if self.per_task else [(shared, 0), (own, column.own)]
        instances = [self.inputs(values, column, weights, instance) for _, instance in options]
        # All five inputs of a BatchNormalization are there.
        inputs = [[tensor for tensor in one if tensor is not None] for one in instances]
        mixed = _run_each if self.mixing == "output" else _run_once
        y = mixed(self.op, [share for share, _ in options], inputs)
        return torch.addcmul(y, values[self.data], column.shares[self.unit][SKIPPED]) if self.skippable else y


def _run_once(op: Op, shares: Sequence[Tensor], inputs: Sequence[list[Tensor]]) -> Tensor:
    """Normalise once: all options read one set of statistics, and scale and bias are linear in the result."""
    scale = reduce(torch.add, [share * one[1] for share, one in zip(shares, inputs, strict=True)])
    bias = reduce(torch.add, [share * one[2] for share, one in zip(shares, inputs, strict=True)])
    x, _, _, *statistics = inputs[0]
    y: Tensor = op(x, scale, bias, *statistics)
    return y


def _run_each(op: Op, shares: Sequence[Tensor], inputs: Sequence[list[Tensor]]) -> Tensor:
    """Normalise for each option; the running statistics move once all the same."""
    for other in inputs[1:]:
        other[3:] = [statistic.clone() for statistic in other[3:]]
    y: Tensor = reduce(torch.add, [share * op(*one) for share, one in zip(shares, inputs, strict=True)])
    return y
