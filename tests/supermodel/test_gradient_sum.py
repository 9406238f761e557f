"""Properties: readers that add into one buffer give a weight the gradient that autograd would have given it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.supermodel.gradient_sum import GradientSum, SummedWeights


class Reader(torch.autograd.Function):
    """``share · weight``, whose gradient goes to the sum."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, total: GradientSum, share: torch.Tensor) -> torch.Tensor:
        ctx.total, ctx.share = total, share
        return share * weight

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[None, None, None]:
        addition = ctx.total.open(grad)
        addition.add(addition.total[:1], ctx.share, grad[:1])
        addition.add(addition.total[1:], ctx.share, grad[1:])
        return None, None, None


def read(weight: torch.Tensor, shares: list[float]) -> list[torch.Tensor]:
    summed = SummedWeights()
    return [Reader.apply(*summed.read("w", weight), torch.tensor(share)) for share in shares]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=4), st.data())
def test_any_backward_passes_over_any_readers(shares: list[float], data: st.DataObject) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    outputs = read(weight, shares)
    for _ in range(data.draw(st.integers(1, 3))):
        chosen = data.draw(st.lists(st.sampled_from(range(len(shares))), min_size=1, unique=True))
        weight.grad = None
        torch.stack([outputs[i].sum() for i in chosen]).sum().backward(retain_graph=True)
        torch.testing.assert_close(weight.grad, torch.full((3,), sum(shares[i] for i in chosen)))


def test_two_weights_do_not_mix() -> None:
    first, second = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    summed = SummedWeights()
    outputs = [Reader.apply(*summed.read(name, w), torch.tensor(2.0)) for name, w in (("a", first), ("b", second))]
    (outputs[0] + 3 * outputs[1]).sum().backward()
    assert first.grad.tolist() == [2, 2]
    assert second.grad.tolist() == [6, 6]


def test_a_frozen_weight_has_no_gradient() -> None:
    frozen = torch.ones(2)
    assert not read(frozen, [1.0])[0].requires_grad


def test_nothing_is_kept_alive() -> None:
    """The graph of a forward pass that nobody uses goes at once, without a search for cycles."""
    weight = torch.nn.Parameter(torch.ones(2))
    gc.disable()
    try:
        outputs = read(weight, [1.0, 2.0])
        alive = weakref.ref(outputs[0].grad_fn.next_functions[0][0])
        del outputs
        assert alive() is None
    finally:
        gc.enable()
