"""One gradient buffer for a weight that every task's pass reads.

Autograd gives each reader of a weight a gradient tensor of its own and adds them up. For a unit's shared kernel that
is kernel-size memory for every task, and touching fresh memory costs more than the arithmetic. Here the first
reader's gradient becomes the buffer, and the others are added to it in place.

A sum belongs to one backward pass. One that asks for other gradients only, such as the policy's, leaves a part behind
that nothing takes; the next pass starts afresh. What a buffer cannot hold are several gradients at once: batched passes
(``is_grads_batched``, ``torch.func.vmap``, ``jacrev``) are refused. Take a pass for each loss, or mix outputs
(``mixing = "output"``), where autograd does the adding. The policy's batched gradients are fine while weights are held.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trunkline.errors import InvalidConfig


@dataclass(frozen=True, slots=True)
class Addition:
    """One reader's contribution to a shared gradient: add each element exactly once; the order of blocks is free.

    Attributes:
        total: The sum so far.
        first: Whether nothing was added yet; ``total`` holds no numbers then.
    """

    total: Tensor
    first: bool

    def add(self, block: Tensor, factor: Tensor, gradient: Tensor) -> None:
        """Add ``factor · gradient`` to ``block``, a view of ``total``; the factor is a scalar."""
        if self.first:
            # Fresh memory is not zeroed: writing it twice costs more than the product.
            torch.mul(gradient, factor, out=block)
        else:
            block.addcmul_(gradient, factor)


class GradientSum:
    """The gradient of one weight, as its readers in one forward pass add it up."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._pass = -1

    def open(self, weight: Tensor) -> Addition:
        """Begin a reader's contribution; the first one becomes the sum.

        Raises:
            InvalidConfig: The backward pass is batched.
        """
        if _is_batched(weight):
            raise InvalidConfig(
                "the supermodel's weights have no batched gradients (is_grads_batched, vmap, jacrev)",
                advice='take one backward pass for each loss, or build the model with mixing="output"',
            )
        # A policy step asks for no gradient of weights, so what its readers add is never taken. The number of the
        # backward pass tells such a rest from this pass's own sum.
        backward_pass = torch._C._current_graph_task_id()
        if self._total is not None and self._pass == backward_pass:
            return Addition(self._total, first=False)
        # Contiguous whatever the weight is: contributions come in flat blocks.
        self._total, self._pass = torch.empty_like(weight, memory_format=torch.contiguous_format), backward_pass
        return Addition(self._total, first=True)

    def take(self) -> Tensor | None:
        """Return the sum, ``None`` if nothing was added, and start again from nothing."""
        total, self._total = self._total, None
        return total


def _is_batched(tensor: Tensor) -> bool:
    """Whether a tensor stands for several: torch has one kind in ``torch.func`` and another in ``torch.autograd``."""
    kinds = torch._C._functorch
    return kinds.is_batchedtensor(tensor) or kinds.is_legacy_batchedtensor(tensor)


class SummedWeights:
    """The weights of one forward pass whose gradients are summed this way.

    A reader takes weight and sum from here, adds to the sum in its backward pass, and returns no gradient for the
    weight. Autograd passes the sum on when all readers that a backward pass reaches have run.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[Tensor, GradientSum]] = {}

    def read(self, key: Hashable, weight: Tensor) -> tuple[Tensor, GradientSum]:
        """Return ``weight`` for a reader, the same for all readers of its key in this pass, and its sum."""
        if key not in self._known:
            total = GradientSum()
            self._known[key] = (_Summed.apply(weight, total), total)  # type: ignore[no-untyped-call]
        return self._known[key]


class _Summed(torch.autograd.Function):
    """The weight itself, with the sum for a gradient."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, total: GradientSum) -> Tensor:
        ctx.total = total
        # Readers return no gradient; a kernel of zeros in its place would be the memory that is saved here.
        ctx.set_materialize_grads(False)
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None]:
        if grad is not None:
            raise AssertionError("a reader returned a gradient of its own")
        return ctx.total.take(), None
