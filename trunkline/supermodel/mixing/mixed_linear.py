"""Weight-space mixing: one convolution instead of one per option.

Convolution is linear in its weights, so Σ_k p_k·conv(x, W_k) = conv(x, Σ_k p_k·W_k). Every option of a unit is
such a weight: the shared and the own kernel as they are, a skip as a kernel that is zero except at one tap
(:mod:`trunkline.sharing.skip`). The gradient of the option weight is ∂L/∂p_k = ⟨∂L/∂W_mix, W_k⟩. The backward
pass mixes again instead of keeping the mixed kernel, so what is saved is the input and the parameters.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trunkline.supermodel.mixing.gradient_sum import GradientSum
from trunkline.supermodel.mixing.linear_operator import input_gradient, pad, weight_gradients
from trunkline.supermodel.mixing.mixed_kernel import Kernels, Mixture, blocks_of, mix
from trunkline.supermodel.mixing.places import OWN, SHARED, SKIPPED


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
        bias: ``[K]``, already mixed; of a linear layer any shape that spreads over ``[N, K]``.
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
        ctx.mixture, ctx.total = mixture, total
        # Of the bias only the shape is needed, so it is not saved.
        ctx.bias_shape = None if bias is None else bias.shape
        ctx.save_for_backward(x, p, shared, own, projection)
        return mix(mixture, p, Kernels(shared, own, projection), x).apply(x, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        mixture: Mixture = ctx.mixture
        x, p, *weights = ctx.saved_tensors
        kernels = Kernels(*weights)
        _, _, for_x, for_p, _, for_shared, for_own, for_projection = ctx.needs_input_grad
        grad_mixed, grad_bias = weight_gradients(x, kernels.shared, grad, mixture.geometry, ctx.bias_shape)
        # To the type of p under autocast, where x and grad are in half precision and mixing is not.
        grad_mixed = grad_mixed.to(p.dtype).contiguous()
        # These two read ∂L/∂W_mix before the own kernel's gradient is written in its place.
        grad_projection = (p[SKIPPED] * mixture.tap_of(grad_mixed))[:, :, None, None] if for_projection else None
        skipped = _skip_gradient(mixture, kernels, grad_mixed) if for_p else None
        # A caller that passes `total` adds up the shared kernel's gradient over all tasks itself.
        total = (ctx.total or GradientSum()) if for_shared else None
        gradients = _KernelGradients(p, grad_mixed, total, for_p=for_p, for_own=for_own)
        mixed = mix(mixture, p, kernels, x, gradients.add_block)
        grad_x = None
        if for_x:
            grad_x = input_gradient(x, mixed.kernel, grad, mixture.geometry)
            mixed.complete_input_gradient(grad_x, grad)
        grad_p = None if skipped is None else gradients.of_options(skipped)
        grad_shared = total.take() if total is not None and ctx.total is None else None
        grad_own = grad_mixed if for_own else None
        return None, None, grad_x, grad_p, grad_bias, grad_shared, grad_own, grad_projection


class _KernelGradients:
    """The gradients of the option weights and of both kernels, block by block while it is in the cache.

    ∂L/∂p_k = ⟨∂L/∂W_mix, W_k⟩, ∂L/∂W_shared = p_shared·∂L/∂W_mix, and ∂L/∂W_own = p_own·∂L/∂W_mix, which is written
    over ∂L/∂W_mix. Each kernel is read once.
    """

    def __init__(self, p: Tensor, grad_mixed: Tensor, total: GradientSum | None, *, for_p: bool, for_own: bool) -> None:
        self.p_shared, self.p_own = p[SHARED], p[OWN]
        self.gradients = iter(blocks_of(grad_mixed))
        self.addition = None if total is None else total.open(grad_mixed)
        self.sums = iter(() if self.addition is None else blocks_of(self.addition.total))
        self.for_p, self.for_own = for_p, for_own
        self.products: list[Tensor] = []

    def add_block(self, shared: Tensor, own: Tensor) -> None:
        """Add what the next block of the kernels gives."""
        gradient = next(self.gradients)
        if self.for_p:
            self.products += [torch.dot(gradient, shared), torch.dot(gradient, own)]
        if self.addition is not None:
            self.addition.add(next(self.sums), self.p_shared, gradient)
        if self.for_own:
            gradient.mul_(self.p_own)  # last: this overwrites the block that the others read

    def of_options(self, skipped: Tensor) -> Tensor:
        """Return ∂L/∂p, ``[3]``: of shared, own and skip, the last one given."""
        return torch.cat([torch.stack(self.products).view(-1, 2).sum(0), skipped.view(1)])


def _skip_gradient(mixture: Mixture, kernels: Kernels, grad_mixed: Tensor) -> Tensor:
    """Return ∂L/∂p_skip, 0 where the unit cannot be skipped."""
    if mixture.skip is None:
        return grad_mixed.new_zeros(())
    if kernels.projection is not None:
        return (mixture.tap_of(grad_mixed) * kernels.projection[:, :, 0, 0]).sum()
    return mixture.diagonal_of(grad_mixed).sum()
