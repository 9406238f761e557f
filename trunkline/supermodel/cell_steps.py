"""What each numbered cell computes in torch, while choices are open or after they are made.

A step holds an operator's twin and where its inputs come from; it holds no weights. They are read by origin from a
store that all steps share, so that a weight used twice is one parameter.

* :class:`NodeStep` runs a node with weights that are decided: of the backbone, a head or a join.
* :class:`SkipStep` runs what stands in for a unit.
* :class:`SumStep` adds up values by the weights of a choice's options: a block's options, or the reads of a join.

A node whose own weights are mixed has a step of :mod:`trunkline.supermodel.mixed_steps`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from trunkline.sharing.lowering.numbering import Ref
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.origin import Leading, Origin
from trunkline.sharing.skip import Skip
from trunkline.supermodel.mixing.gradient_sum import SummedWeights
from trunkline.supermodel.mixing.linear_operator import apply_skip
from trunkline.twins.op import Op

Mixing = Literal["weight", "output"]
Values = dict[Ref, Tensor]
Weights = Callable[[Origin | Leading], Tensor]
Source = Ref | Origin | Leading | None
"""Where an input of a node comes from: a value, a stored tensor, or nowhere (an absent input, or a setting)."""


@dataclass(frozen=True, slots=True)
class OptionWeights:
    """The weights of a choice's options in this forward pass.

    Attributes:
        row: All of them, ``[K]``.
        by_option: The same as scalars: taken apart once, since many small look-ups cost as many backward nodes.
    """

    row: Tensor
    by_option: tuple[Tensor, ...]

    def of(self, options: Sequence[int]) -> Tensor:
        """Return the summed weight of some options."""
        return reduce(torch.add, [self.by_option[option] for option in options])


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """What the steps of one forward pass read.

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


def weighted_sum(weights: Iterable[Tensor], tensors: Iterable[Tensor]) -> Tensor:
    """Return Σ_k p_k · x_k, added up in order; ``tensors`` may be computed one by one as they are needed.

    >>> weighted_sum(torch.tensor([0.25, 0.75]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([2.5000, 3.5000])
    """
    return reduce(torch.add, [weight * tensor for weight, tensor in zip(weights, tensors, strict=True)])


class CellStep(ABC):
    """Computes a cell."""

    @abstractmethod
    def run(self, now: ForwardPass) -> Tensor | tuple[Tensor, ...]:
        """Return the cell's outputs."""


@dataclass(frozen=True, slots=True)
class NodeStep(CellStep):
    """A node with decided weights.

    Attributes:
        op: The node's twin, which holds no weights.
        sources: Of its inputs, in ONNX order.
    """

    op: Op
    sources: tuple[Source, ...]

    def run(self, now: ForwardPass) -> Tensor | tuple[Tensor, ...]:
        """Return the node's outputs."""
        result: Tensor | tuple[Tensor, ...] = self.op(*(now.read(source) for source in self.sources))
        return result


@dataclass(frozen=True, slots=True)
class SkipStep(CellStep):
    """What stands in for a unit.

    Attributes:
        skip: The subsampling or the projection; an identity needs no step.
        data: The unit's input.
        projection: The projection's kernel, if there is one.
    """

    skip: Skip
    data: Ref
    projection: Origin | Leading | None

    def run(self, now: ForwardPass) -> Tensor:
        """Return what a task that skips the unit gets."""
        return apply_skip(self.skip, now.values[self.data], now.read(self.projection))


@dataclass(frozen=True, slots=True)
class SumStep(CellStep):
    """Σ_k p_k · x_k.

    Attributes:
        choice: Whose options are mixed.
        options: By input, the number of the option that it stands for. A read that may be left out is one input: its
            other option adds nothing.
        inputs: The values, one for each of these options.
    """

    choice: ChoiceId
    options: tuple[int, ...]
    inputs: tuple[Ref, ...]

    def run(self, now: ForwardPass) -> Tensor:
        """Return the sum."""
        by_option = now.options[self.choice].by_option
        weights = [by_option[option] for option in self.options]
        return weighted_sum(weights, [now.values[ref] for ref in self.inputs])
