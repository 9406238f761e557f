"""What each numbered cell computes in torch, while choices are open or after they are made.

A step holds an operator's twin and where its inputs come from; it holds no weights. They are read by origin from a
store that all steps share, so that a weight used twice is one parameter.

* :class:`NodeStep` runs a node with weights that are decided: of the backbone, a head or a join.
* :class:`SkipStep` runs what stands in for a unit.
* :class:`SumStep` adds up values by the weights of a choice's options: a block's options, or the reads of a join.
* :class:`MatrixStep` is AutoMTL's Virtual Computation Node: a convolution or linear layer whose kernels are mixed.
* :class:`NormStep` and :class:`ElementStep` are other weighted nodes of an operator unit: its tail, and its followers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from trunkline.sharing.lowering.numbering import MixedSource, Ref
from trunkline.sharing.origin import Leading, Origin
from trunkline.sharing.skip import Skip
from trunkline.sharing.space import ChoiceId
from trunkline.supermodel.mixing.gradient_sum import GradientSum, SummedWeights
from trunkline.supermodel.mixing.linear_operator import apply_linear, apply_skip
from trunkline.supermodel.mixing.mixed_kernel import Kernels, Mixture
from trunkline.supermodel.mixing.mixed_linear import mixed_linear
from trunkline.twins.op import Op

Mixing = Literal["weight", "output"]
InputKind = Literal["data", "stored", "computed", "setting", "none"]
"""What an input of a node is: a value of the image, a weight, a computed weight, a setting, or absent."""
Values = dict[Ref, Tensor]
Weights = Callable[[Origin | Leading], Tensor]
Source = Ref | Origin | Leading | None
"""Where an input of a node comes from: a value, a stored tensor, or nowhere (an absent input, or a setting)."""


@dataclass(frozen=True, slots=True)
class OptionWeights:
    """The weights of a choice's options in this forward pass.

    Attributes:
        row: All of them, ``[K]``.
        shares: The same, option by option: taken apart once, since many small look-ups cost as many backward nodes.
    """

    row: Tensor
    shares: tuple[Tensor, ...]

    def of(self, options: Sequence[int]) -> Tensor:
        """Return the summed weight of some options."""
        return reduce(torch.add, [self.shares[option] for option in options])


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """One forward pass.

    Attributes:
        values: What is computed so far.
        weights: Stored tensors by origin.
        options: Option weights by open choice.
        summed: Kernels that several columns read, whose gradients are added up in one buffer.
    """

    values: Values
    weights: Weights
    options: Mapping[ChoiceId, OptionWeights]
    summed: SummedWeights

    def read(self, source: Source) -> Tensor | None:
        """Return the tensor that an input comes from."""
        if source is None:
            return None
        return self.values[source] if isinstance(source, Ref) else self.weights(source)


class CellStep(ABC):
    """Computes a cell."""

    @abstractmethod
    def run(self, now: ForwardPass) -> Tensor | tuple[Tensor, ...]:
        """Return the cell's outputs."""


@dataclass(frozen=True, slots=True)
class NodeStep(CellStep):
    """A node with decided weights.

    Attributes:
        op: Its twin.
        sources: Of its inputs, in ONNX order.
    """

    op: Op
    sources: tuple[Source, ...]

    def run(self, now: ForwardPass) -> Tensor | tuple[Tensor, ...]:
        """Run the node."""
        result: Tensor | tuple[Tensor, ...] = self.op(*(now.read(source) for source in self.sources))
        return result


@dataclass(frozen=True, slots=True)
class SkipStep(CellStep):
    """What stands in for a unit."""

    skip: Skip
    data: Ref
    projection: Origin | Leading | None

    def run(self, now: ForwardPass) -> Tensor:
        """Run the skip."""
        return apply_skip(self.skip, now.values[self.data], now.read(self.projection))


@dataclass(frozen=True, slots=True)
class SumStep(CellStep):
    """Σ_k p_k · x_k."""

    choice: ChoiceId
    options: tuple[int, ...]
    inputs: tuple[Ref, ...]

    def run(self, now: ForwardPass) -> Tensor:
        """Add the values up."""
        shares = now.options[self.choice].shares
        scaled = [shares[k] * now.values[ref] for k, ref in zip(self.options, self.inputs, strict=True)]
        return reduce(torch.add, scaled)


@dataclass(frozen=True, slots=True)
class MixedRun:
    """One way to run a mixed node: with these inputs, by these options.

    Attributes:
        options: Numbers of the options.
        sources: Of the node's inputs, in ONNX order; of a skip, of the projection alone, if it has one.
    """

    options: tuple[int, ...]
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class MixedStep(CellStep):
    """A node of an operator unit whose options are open.

    Attributes:
        choice: Of the unit.
        op: Twin of the node.
        data: What it transforms.
        runs: A run for each instance that options take.
        skip: The options that skip the unit, if it may be skipped.
        mixing: ``weight`` mixes weights where that is exact; ``output`` runs every option (the reference).
    """

    choice: ChoiceId
    op: Op
    data: Ref
    runs: tuple[MixedRun, ...]
    skip: MixedRun | None
    mixing: Mixing

    def run(self, now: ForwardPass) -> Tensor:
        """Run every option and mix the outputs."""
        options = now.options[self.choice]
        y = reduce(torch.add, [options.of(run.options) * self._result(now, run) for run in self.runs])
        return y if self.skip is None else y + options.of(self.skip.options) * self.skipped(now)

    def skipped(self, now: ForwardPass) -> Tensor:
        """Return what the node gives when its unit is skipped: a tail passes its input on."""
        return now.values[self.data]

    def _result(self, now: ForwardPass, run: MixedRun) -> Tensor:
        result = self.op(*(now.read(source) for source in run.sources))
        return result if isinstance(result, Tensor) else result[0]


class ElementStep(MixedStep):
    """A weighted node that is cheap to run once an option: scale, offset, PReLU."""


class NormStep(MixedStep):
    """A BatchNormalization: all options read one set of statistics, and scale and bias are linear in the result."""

    def run(self, now: ForwardPass) -> Tensor:
        """Return Σ_k p_k·BN_k(x)."""
        options = now.options[self.choice]
        shares = [options.of(run.options) for run in self.runs]
        # All five inputs of a BatchNormalization are there.
        inputs = [[tensor for source in run.sources if (tensor := now.read(source)) is not None] for run in self.runs]
        y = self._run_each(shares, inputs) if self.mixing == "output" else self._run_once(shares, inputs)
        return y if self.skip is None else torch.addcmul(y, now.values[self.data], options.of(self.skip.options))

    def _run_once(self, shares: Sequence[Tensor], inputs: Sequence[list[Tensor]]) -> Tensor:
        scale = reduce(torch.add, [share * one[1] for share, one in zip(shares, inputs, strict=True)])
        bias = reduce(torch.add, [share * one[2] for share, one in zip(shares, inputs, strict=True)])
        x, _, _, *statistics = inputs[0]
        y: Tensor = self.op(x, scale, bias, *statistics)
        return y

    def _run_each(self, shares: Sequence[Tensor], inputs: Sequence[list[Tensor]]) -> Tensor:
        """Normalise for each option; the running statistics move once all the same."""
        for other in inputs[1:]:
            other[3:] = [statistic.clone() for statistic in other[3:]]
        y: Tensor = reduce(torch.add, [share * self.op(*one) for share, one in zip(shares, inputs, strict=True)])
        return y


@dataclass(frozen=True, slots=True)
class MatrixStep(MixedStep):
    """A unit's convolution or linear layer: kernels, and the skip, are mixed, and one operator runs.

    Attributes:
        mixture: The operator, and the skip if it is an option.
        bias: Whether there is one.
    """

    mixture: Mixture
    bias: bool

    def run(self, now: ForwardPass) -> Tensor:
        """Return the mix of all options."""
        if self.mixing == "output":
            return MixedStep.run(self, now)
        if len(self.runs) == 2 and self._in_order:
            return self._run_pair(now)
        return self._run_many(now)

    def skipped(self, now: ForwardPass) -> Tensor:
        """Return the skip's own result."""
        assert self.mixture.skip is not None
        return apply_skip(self.mixture.skip, now.values[self.data], self._projection(now))

    @property
    def _in_order(self) -> bool:
        """Whether the options are one kernel, another, and the skip: then their weights need no rearranging."""
        ways = [*self.runs, *([] if self.skip is None else [self.skip])]
        return [way.options for way in ways] == [(number,) for number in range(len(ways))]

    def _run_pair(self, now: ForwardPass) -> Tensor:
        """Mix two kernels in one pass over them; see :mod:`trunkline.supermodel.mixing.mixed_kernel`."""
        options = now.options[self.choice]
        first, second = self.runs
        shared, total = self._summed_kernel(now, first)
        kernels = Kernels(shared, self._kernel(now, second), self._projection(now))
        row = options.row if len(options.shares) > 2 else torch.cat([options.row, options.row.new_zeros(1)])
        return mixed_linear(
            self.mixture,
            now.values[self.data],
            row,
            kernels,
            self._mixed_bias(now, options),
            total,
        )

    def _run_many(self, now: ForwardPass) -> Tensor:
        """Mix any number of kernels: Σ_k p_k·conv(x, W_k) = conv(x, Σ_k p_k·W_k)."""
        options = now.options[self.choice]
        kernels = [self._kernel(now, run) for run in self.runs]
        shares = [options.of(run.options) for run in self.runs]
        mixed = reduce(torch.add, [share * kernel for share, kernel in zip(shares, kernels, strict=True)])
        y = apply_linear(now.values[self.data], mixed, self._mixed_bias(now, options), self.mixture.geometry)
        return y if self.skip is None else y + options.of(self.skip.options) * self.skipped(now)

    def _mixed_bias(self, now: ForwardPass, options: OptionWeights) -> Tensor | None:
        if not self.bias:
            return None
        biases = [(options.of(run.options), now.read(run.sources[2])) for run in self.runs]
        return reduce(torch.add, [share * bias for share, bias in biases if bias is not None])

    def _kernel(self, now: ForwardPass, run: MixedRun) -> Tensor:
        kernel = now.read(run.sources[1])
        assert kernel is not None
        # Mixing goes through kernels block by block in memory; what a kernel is computed by may leave gaps.
        return kernel.contiguous() if isinstance(run.sources[1], Ref) else kernel

    def _summed_kernel(self, now: ForwardPass, run: MixedRun) -> tuple[Tensor, GradientSum | None]:
        """Return the kernel that several columns read, and where its gradient is added up.

        What a kernel is computed by has a backward pass of its own, which each column's loss must be free to run.
        """
        source, kernel = run.sources[1], self._kernel(now, run)
        return (kernel, None) if isinstance(source, Ref) else now.summed.read(repr(source), kernel)

    def _projection(self, now: ForwardPass) -> Tensor | None:
        return now.read(self.skip.sources[0]) if self.skip is not None and self.skip.sources else None


def runs_of(
    sources: Sequence[MixedSource],
    weights: Sequence[Origin | Leading],
    inputs: Sequence[Ref],
    layout: Sequence[InputKind],
) -> tuple[tuple[MixedRun, ...], MixedRun | None]:
    """Return the runs of a mixed node from its cell, and the skip if it is an option.

    Args:
        sources: Of the cell's operation.
        weights: Of the cell: those of the first source, then those of the next.
        inputs: Of the cell: the node's data, which all sources read, then computed weights, source by source.
        layout: What each input of the node is.
    """
    data = inputs[: layout.count("data")]
    stored, computed = iter(weights), iter(inputs[len(data) :])
    runs: list[MixedRun] = []
    skip: MixedRun | None = None
    for source in sources:
        own = [next(stored) for _ in range(source.weights)]
        behind = [next(computed) for _ in range(source.inputs)]
        if source.skip:
            skip = MixedRun(source.options, tuple(own))
        else:
            runs.append(MixedRun(source.options, _laid_out(layout, data, own, behind)))
    return tuple(runs), skip


def _laid_out(
    layout: Sequence[InputKind], data: Sequence[Ref], stored: Sequence[Source], computed: Sequence[Ref]
) -> tuple[Source, ...]:
    queues = {"data": iter(data), "stored": iter(stored), "setting": iter(()), "computed": iter(computed)}
    queues["setting"] = queues["stored"]  # both are stored, and stand in the cell in input order
    found: list[Source] = []
    for kind in layout:
        source = None if kind == "none" else next(queues[kind])
        found.append(None if kind == "setting" else source)
    return tuple(found)
