"""Steps for the weighted nodes of an operator unit while its options are open.

* :class:`MatrixStep` is AutoMTL's Virtual Computation Node: a convolution or linear layer whose kernels are mixed.
* :class:`NormStep` and :class:`ElementStep` are the other weighted nodes: the unit's tail, and its followers.

Each of them has two ways to mix, and both are exact: ``weight`` mixes weights where the node is linear in them, and
``output`` runs the node once an option, which is the reference that the first is tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trunkline.sharing.lowering.numbering import Ref
from trunkline.sharing.open_join import ChoiceId
from trunkline.supermodel.cell_steps import CellStep, ForwardPass, Mixing, OptionWeights, Source, weighted_sum
from trunkline.supermodel.mixing.gradient_sum import GradientSum
from trunkline.supermodel.mixing.linear_operator import apply_linear, apply_skip
from trunkline.supermodel.mixing.mixed_kernel import Kernels, Mixture
from trunkline.supermodel.mixing.mixed_linear import mixed_linear
from trunkline.twins.op import Op

_KERNEL, _BIAS = 1, 2
"""Where a convolution and a linear layer have them, in ONNX order."""


@dataclass(frozen=True, slots=True)
class OptionRun:
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
    runs: tuple[OptionRun, ...]
    skip: OptionRun | None
    mixing: Mixing

    def run(self, now: ForwardPass) -> Tensor:
        """Run every option and mix the outputs."""
        options = now.options[self.choice]
        y = weighted_sum(self._run_weights(options), (self._result(now, run) for run in self.runs))
        return y if self.skip is None else y + options.of(self.skip.options) * self.skipped(now)

    def skipped(self, now: ForwardPass) -> Tensor:
        """Return what the node gives when its unit is skipped."""
        # A unit is skipped as a whole, so its tail passes the input on. AutoMTL's release would normalise it.
        return now.values[self.data]

    def _run_weights(self, options: OptionWeights) -> list[Tensor]:
        return [options.of(run.options) for run in self.runs]

    def _result(self, now: ForwardPass, run: OptionRun) -> Tensor:
        result = self.op(*(now.read(source) for source in run.sources))
        return result if isinstance(result, Tensor) else result[0]


class ElementStep(MixedStep):
    """A weighted node that is cheap to run once an option: scale, offset, PReLU."""


class NormStep(MixedStep):
    """A BatchNormalization: all options read one set of statistics, and scale and bias are linear in the result."""

    def run(self, now: ForwardPass) -> Tensor:
        """Return Σ_k p_k·BN_k(x)."""
        options = now.options[self.choice]
        weights = self._run_weights(options)
        inputs = [_all_inputs(now, run) for run in self.runs]
        y = self._run_each(weights, inputs) if self.mixing == "output" else self._run_once(weights, inputs)
        if self.skip is None:
            return y
        # addcmul, so that no map-sized product stands in between.
        return torch.addcmul(y, now.values[self.data], options.of(self.skip.options))

    def _run_once(self, weights: Sequence[Tensor], inputs: Sequence[list[Tensor]]) -> Tensor:
        scale = weighted_sum(weights, [scale for _, scale, *_ in inputs])
        bias = weighted_sum(weights, [bias for _, _, bias, *_ in inputs])
        # Every option has the same input and the same statistics; only scale and bias differ.
        x, _, _, *statistics = inputs[0]
        y: Tensor = self.op(x, scale, bias, *statistics)
        return y

    def _run_each(self, weights: Sequence[Tensor], inputs: Sequence[list[Tensor]]) -> Tensor:
        # In training the twin moves the statistics that it is given. There is one input, so they move once: by the
        # first option's run, while the others move copies that are not kept.
        for other in inputs[1:]:
            other[3:] = [statistic.clone() for statistic in other[3:]]
        return weighted_sum(weights, (self.op(*one) for one in inputs))


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
            # Not super(): slots=True makes a second class, which a call of super() without arguments does not know.
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
        runs = self.runs if self.skip is None else (*self.runs, self.skip)
        return [run.options for run in runs] == [(number,) for number in range(len(runs))]

    def _run_pair(self, now: ForwardPass) -> Tensor:
        """Mix two kernels in one pass over them; see :mod:`trunkline.supermodel.mixing.mixed_kernel`."""
        options = now.options[self.choice]
        first, second = self.runs
        shared, total = self._summed_kernel(now, first)
        kernels = Kernels(shared, self._kernel(now, second), self._projection(now))
        # The mix reads three weights. A row is as long as the unit of its group with most options needs it.
        row = options.row
        if len(row) > 3:
            row = row[:3]
        elif len(row) == 2:
            row = torch.cat([row, row.new_zeros(1)])
        return mixed_linear(self.mixture, now.values[self.data], row, kernels, self._mixed_bias(now, options), total)

    def _run_many(self, now: ForwardPass) -> Tensor:
        """Mix any number of kernels: Σ_k p_k·conv(x, W_k) = conv(x, Σ_k p_k·W_k)."""
        options = now.options[self.choice]
        mixed = weighted_sum(self._run_weights(options), [self._kernel(now, run) for run in self.runs])
        y = apply_linear(now.values[self.data], mixed, self._mixed_bias(now, options), self.mixture.geometry)
        return y if self.skip is None else y + options.of(self.skip.options) * self.skipped(now)

    def _mixed_bias(self, now: ForwardPass, options: OptionWeights) -> Tensor | None:
        if not self.bias:
            return None
        biases = [now.read(run.sources[_BIAS]) for run in self.runs]
        # A skip has no bias: it adds nothing to the sum.
        return weighted_sum(self._run_weights(options), [bias for bias in biases if bias is not None])

    def _kernel(self, now: ForwardPass, run: OptionRun) -> Tensor:
        kernel = now.read(run.sources[_KERNEL])
        assert kernel is not None
        # Mixing goes through kernels block by block in memory; what a kernel is computed by may leave gaps.
        return kernel.contiguous() if isinstance(run.sources[_KERNEL], Ref) else kernel

    def _summed_kernel(self, now: ForwardPass, run: OptionRun) -> tuple[Tensor, GradientSum | None]:
        """Return the kernel that several columns read, and where its gradient is added up."""
        source, kernel = run.sources[_KERNEL], self._kernel(now, run)
        if isinstance(source, Ref):
            # What computes a kernel has a backward pass of its own, which each column's loss must be free to run.
            return kernel, None
        return now.summed.read(source, kernel)

    def _projection(self, now: ForwardPass) -> Tensor | None:
        if self.skip is None or not self.skip.sources:
            return None
        return now.read(self.skip.sources[0])


def _all_inputs(now: ForwardPass, run: OptionRun) -> list[Tensor]:
    """Return the inputs of a BatchNormalization; ONNX lets none of the five be absent."""
    inputs = [now.read(source) for source in run.sources]
    return [tensor for tensor in inputs if tensor is not None]
