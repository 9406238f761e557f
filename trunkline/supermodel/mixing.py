"""Weight-space mixing: one convolution instead of one per option.

Convolution is linear in its weights, so Σ_k p_k·conv(x, W_k) = conv(x, Σ_k p_k·W_k). Every option of a unit is
such a weight: the shared and the own kernel as they are, a skip as a kernel that is zero except at one tap
(:mod:`trunkline.supermodel.skip`). The gradient of the option weight is ∂L/∂p_k = ⟨∂L/∂W_mix, W_k⟩. The backward
pass mixes again instead of keeping the mixed kernel, so what is saved is the input and the parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trunkline.supermodel.choice import OWN, SHARED, SKIPPED
from trunkline.supermodel.gradient_sum import GradientSum
from trunkline.supermodel.linear_operator import gradients, pad
from trunkline.supermodel.mixed_kernel import Kernels, Mixture, mix


def mixed_linear(
    mixture: Mixture,
    x: Tensor,
    p: Tensor,
    kernels: Kernels,
    bias: Tensor | None = None,
    total: GradientSum | None = None,
) -> Tensor:
    """Apply the mixed operator to ``x`` with exact gradients for ``x``, ``p``, kernels and bias.

    Args:
        mixture: What is mixed.
        x: ``[N, C, H, W]``, or ``[N, C]`` for a linear layer.
        p: Weights of the options, ``[3]``.
        kernels: The options' weights.
        bias: ``[K]``, already mixed.
        total: Where the gradient of the shared kernel is added up, instead of by autograd.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    tensors = (pad(x, mixture.geometry), p, bias, kernels.shared, kernels.own, kernels.projection)
    # Mixing stays in float32; only the mixed kernel is cast, to the type of the input.
    with torch.autocast(device, enabled=False):
        result: Tensor = _MixedLinear.apply(mixture, total, *tensors)  # type: ignore[no-untyped-call]
    return result


class _MixedLinear(torch.autograd.Function):
    """Mixes in the forward pass, forgets the mixture, and mixes again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        mixture: Mixture,
        total: GradientSum | None,
        x: Tensor,
        p: Tensor,
        bias: Tensor | None,
        shared: Tensor,
        own: Tensor,
        projection: Tensor | None,
    ) -> Tensor:
        ctx.mixture, ctx.total, ctx.has_bias = mixture, total, bias is not None
        ctx.save_for_backward(x, p, shared, own, projection)
        return mix(mixture, p, Kernels(shared, own, projection), x).apply(x, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        mixture: Mixture = ctx.mixture
        x, p, *weights = ctx.saved_tensors
        kernels = Kernels(*weights)
        _, _, for_x, for_p, _, for_shared, for_own, for_projection = ctx.needs_input_grad
        mixed = mix(mixture, p, kernels, x)
        grad_x, grad_mixed, grad_bias = gradients(
            x, mixed.kernel, grad, mixture.geometry, of_input=for_x, of_bias=ctx.has_bias
        )
        if grad_x is not None:
            mixed.complete_input_gradient(grad_x, grad)
        grad_mixed = grad_mixed.to(p.dtype)
        grad_p = _option_gradient(mixture, p, kernels, grad_mixed) if for_p else None
        grad_projection = (p[SKIPPED] * mixture.tap_of(grad_mixed))[:, :, None, None] if for_projection else None
        grad_shared = _shared_gradient(ctx.total, p[SHARED], grad_mixed) if for_shared else None
        # The last use of grad_mixed: its memory serves again, for fresh memory costs more than the arithmetic.
        grad_own = grad_mixed.mul_(p[OWN]) if for_own else None
        return None, None, grad_x, grad_p, grad_bias, grad_shared, grad_own, grad_projection


def _option_gradient(mixture: Mixture, p: Tensor, kernels: Kernels, grad_mixed: Tensor) -> Tensor:
    """Return ∂L/∂p_k = ⟨∂L/∂W_mix, W_k⟩ for every option."""
    grad_p = torch.zeros_like(p)
    for option, kernel in ((SHARED, kernels.shared), (OWN, kernels.own)):
        grad_p[option] = torch.dot(grad_mixed.reshape(-1), kernel.reshape(-1))
    if kernels.projection is not None:
        grad_p[SKIPPED] = (mixture.tap_of(grad_mixed) * kernels.projection[:, :, 0, 0]).sum()
    elif mixture.skip is not None:
        grad_p[SKIPPED] = mixture.diagonal_of(grad_mixed).sum()
    return grad_p


def _shared_gradient(total: GradientSum | None, share: Tensor, grad_mixed: Tensor) -> Tensor | None:
    if total is None:
        return share * grad_mixed
    total.add(share, grad_mixed)
    return None
