"""Properties: readers that add into one buffer give a weight the gradient that autograd would have given it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from automtl_model import AutoMTL, AutoMTLOptions
from backbones import chain
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.errors import InvalidConfig
from trunkline.supermodel.mixing.gradient_sum import GradientSum, SummedWeights

pytestmark = pytest.mark.properties


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


def model_and_losses(mixing: str = "weight") -> tuple[AutoMTL, torch.Tensor]:
    model = AutoMTL(chain(), {}, ("a", "b"), AutoMTLOptions(mixing=mixing), seed=1).double()
    model.mode("sample")
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return model, torch.stack([output.sin().sum() for output in model(image).values()])


def weights_of(model: AutoMTL) -> list[torch.nn.Parameter]:
    return list(model.weight_parameters().values())


def test_a_policy_pass_leaves_nothing_behind() -> None:
    """Its readers add to sums that nobody takes; the weights' gradients of the next pass must not hold them."""
    model, losses = model_and_losses()
    torch.autograd.grad(losses.sum(), list(model.policies), retain_graph=True)
    found = torch.autograd.grad(losses.sum(), weights_of(model), allow_unused=True)
    again, fresh = model_and_losses()
    for mine, reference in zip(
        found, torch.autograd.grad(fresh.sum(), weights_of(again), allow_unused=True), strict=True
    ):
        assert (mine is None) == (reference is None)
        assert mine is None or torch.equal(mine, reference)


@pytest.mark.parametrize("of", ["autograd", "func"])
def test_batched_gradients_of_weights_are_refused(of: str) -> None:
    """One buffer cannot hold several gradients at once; torch would end in the middle of one, or mix them up."""
    model, losses = model_and_losses()
    every = torch.eye(2, dtype=torch.float64)

    def one(direction: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(losses, weights_of(model), direction, retain_graph=True, allow_unused=True)[0]

    with pytest.raises(InvalidConfig, match="no batched gradients") as caught:
        if of == "func":
            torch.func.vmap(one)(every)
        else:
            torch.autograd.grad(losses, weights_of(model), every, is_grads_batched=True, allow_unused=True)
    assert 'mixing="output"' in str(caught.value)


@pytest.mark.parametrize(("mixing", "group"), [("output", "weights"), ("weight", "policy")])
def test_what_the_refusal_advises_is_right(mixing: str, group: str) -> None:
    """Batched gradients of the weights with mixed outputs, and of the policy while weights are held."""
    model, _ = model_and_losses(mixing)
    for name, parameters in model.groups().items():
        for parameter in parameters.values():
            parameter.requires_grad_(name.startswith(group))
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = torch.stack([output.sin().sum() for output in model(image).values()])
    wanted = weights_of(model) if group == "weights" else list(model.policies)
    every = torch.eye(2, dtype=torch.float64)
    batched = torch.autograd.grad(losses, wanted, every, is_grads_batched=True, retain_graph=True, allow_unused=True)
    for task, loss in enumerate(losses):
        alone = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
        for mine, reference in zip(batched, alone, strict=True):
            assert mine is not None or reference is None
            if reference is not None and mine is not None:
                torch.testing.assert_close(mine[task], reference)


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
