"""Weight-space mixing: one convolution instead of one per option.

Convolution is linear in its weights, so Σ_k p_k·conv(x, W_k) = conv(x, Σ_k p_k·W_k). Every option of a unit is
such a weight: the shared and the own kernel as they are, a skip as a kernel that is zero except at one tap
(:mod:`trunkline.supermodel.skip`). The gradient of the option weight is ∂L/∂p_k = ⟨∂L/∂W_mix, W_k⟩. The backward
pass mixes again instead of keeping the mixed kernel, so what is saved is the input and the parameters.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from trunkline.supermodel.skip import Skip

_LOCAL = threading.local()


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a linear operator reads its input: everything about it but the weights.

    Attributes:
        kind: ``conv``, ``transposed`` or ``linear``.
        stride: Per spatial axis.
        pads: Padding before and after each spatial axis, ``(h0, w0, h1, w1)`` as ONNX orders it.
        dilation: Per spatial axis.
        groups: Channel groups.
        output_padding: Of a transposed convolution.
        transposed_weight: Whether a linear weight is stored ``[out, in]``.
    """

    kind: str = "conv"
    stride: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    output_padding: tuple[int, ...] = (0, 0)
    transposed_weight: bool = True

    @property
    def symmetric(self) -> bool:
        """Whether both ends of each axis are padded alike, which the kernels need."""
        half = len(self.pads) // 2
        return self.pads[:half] == self.pads[half:]

    @property
    def arguments(self) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
        """What torch's general convolution and its backward take after their tensors."""
        transposed = self.kind == "transposed"
        output_padding = list(self.output_padding)
        return list(self.stride), list(self.padding), list(self.dilation), transposed, output_padding, self.groups

    @property
    def padding(self) -> tuple[int, ...]:
        """The symmetric part that is handed to the kernel."""
        return self.pads[: len(self.pads) // 2] if self.symmetric else (0,) * (len(self.pads) // 2)


def apply_linear(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Apply the operator: ``[N, C, H, W]`` → ``[N, K, H', W']``, or ``[N, C]`` → ``[N, K]``."""
    return _run(_padded(x, geometry), weight, bias, geometry)


def _padded(x: Tensor, geometry: Geometry) -> Tensor:
    if geometry.symmetric or geometry.kind != "conv":
        return x
    half = len(geometry.pads) // 2
    amounts = [side for axis in reversed(range(half)) for side in (geometry.pads[axis], geometry.pads[axis + half])]
    return F.pad(x, amounts)


@dataclass(frozen=True, slots=True)
class Mixture:
    """The options of one unit for one task, fixed but for the numbers.

    Attributes:
        geometry: Of the unit's operator.
        skip: Its skip, or ``None``.
        options: Which entry of p each weight has, in the order the weights are given.
        skip_option: Which entry of p the skip has.
    """

    geometry: Geometry
    skip: Skip | None
    options: tuple[int, ...] = (0, 1)
    skip_option: int = 2


def mix_weight(mixture: Mixture, p: Tensor, weights: Sequence[Tensor], projection: Tensor | None) -> Tensor:
    """Return W_mix = Σ_k p_k·W_k, the skip folded in at its tap; not differentiable by itself.

    On the CPU the result lives in a buffer that the next call overwrites.
    """
    mixed = torch.mul(weights[0], p[mixture.options[0]], out=_buffer_like(weights[0]))
    for option, weight in zip(mixture.options[1:], weights[1:], strict=True):
        mixed.addcmul_(weight, p[option])
    if mixture.skip is not None:
        share = p[mixture.skip_option]
        if projection is not None:
            _tap_of(mixed, mixture).add_(share * projection[:, :, 0, 0])
        else:
            _diagonal(_tap_of(mixed, mixture), mixture.geometry.groups).add_(share)
    return mixed


def mixed_linear(
    mixture: Mixture, x: Tensor, p: Tensor, weights: Sequence[Tensor], bias: Tensor | None, projection: Tensor | None
) -> Tensor:
    """Apply the mixed operator to ``x`` with exact gradients for ``x``, ``p``, weights, bias and projection."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    padded = _padded(x, mixture.geometry)
    extra = () if projection is None else (projection,)
    # Mixing stays in float32; only the mixed kernel is cast, to the type of the input.
    with torch.autocast(device, enabled=False):
        result: Tensor = _MixedLinear.apply(mixture, padded, p, bias, *weights, *extra)  # type: ignore[no-untyped-call]
    return result


def apply_skip(skip: Skip, x: Tensor, projection: Tensor | None) -> Tensor:
    """Return what a task that skips the unit gets from ``x``, ``[N, C, H, W]`` → ``[N, K, H', W']``."""
    if skip.is_identity:
        return x
    (top, left), (down, right), (height, width) = skip.offset, skip.stride, skip.size
    x = x[:, :, top : top + down * (height - 1) + 1 : down, left : left + right * (width - 1) + 1 : right]
    return x if projection is None else F.conv2d(x, projection, groups=skip.groups)


def _buffer_like(weight: Tensor) -> Tensor:
    """Return memory for a mixed kernel, which is never needed past the convolution that it was mixed for.

    On the CPU it is always the same, per thread: on a large kernel, page faults of fresh memory cost more than mixing.
    """
    if weight.device.type != "cpu":
        return torch.empty_like(weight)
    buffers: dict[torch.dtype, Tensor] = _LOCAL.__dict__.setdefault("buffers", {})
    buffer = buffers.get(weight.dtype)
    if buffer is None or buffer.numel() < weight.numel():
        with torch.inference_mode(False):  # a buffer made in inference mode could not be used outside it
            buffer = buffers[weight.dtype] = torch.empty(weight.numel(), dtype=weight.dtype)
    return buffer[: weight.numel()].view(weight.shape)


def _tap_of(weight: Tensor, mixture: Mixture) -> Tensor:
    """Return the view of ``weight`` that the skip occupies: ``[C_out, C_in / groups]``."""
    assert mixture.skip is not None
    if mixture.geometry.kind == "linear":
        return weight
    return weight[:, :, mixture.skip.tap[0], mixture.skip.tap[1]]


def _diagonal(tap: Tensor, groups: int) -> Tensor:
    """Return the entries of a tap that pass channel c to channel c, as a view ``[groups, C / groups]``."""
    size = tap.shape[0] // groups
    return tap.view(groups, size, tap.shape[1]).diagonal(dim1=1, dim2=2)


class _MixedLinear(torch.autograd.Function):
    """Mixes in the forward pass, forgets the mixture, and mixes again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, mixture: Mixture, x: Tensor, p: Tensor, bias: Tensor | None, *weights: Tensor) -> Tensor:
        ctx.mixture, ctx.has_bias = mixture, bias is not None
        ctx.save_for_backward(x, p, *weights)
        mixed = _mix(mixture, p, weights).to(x.dtype)
        return _run(x, mixed, bias, mixture.geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        mixture: Mixture = ctx.mixture
        x, p, *weights = ctx.saved_tensors
        mixed = _mix(mixture, p, weights).to(x.dtype)
        grad_x, grad_mixed, grad_bias = _gradients(ctx, x, mixed, grad, mixture.geometry)
        needs, grad_mixed = ctx.needs_input_grad, grad_mixed.to(p.dtype)
        grad_p = _option_gradient(mixture, p, weights, grad_mixed) if needs[2] else None
        grads = _weight_gradients(mixture, p, weights, grad_mixed, needs[4:])
        return (None, grad_x, grad_p, grad_bias, *grads)


def _mix(mixture: Mixture, p: Tensor, weights: Sequence[Tensor]) -> Tensor:
    kernels = len(mixture.options)
    return mix_weight(mixture, p, weights[:kernels], weights[kernels] if len(weights) > kernels else None)


def _run(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Apply the operator to an already padded input."""
    bias = None if bias is None else bias.to(x.dtype)
    if geometry.kind == "linear":
        return F.linear(x, weight if geometry.transposed_weight else weight.t(), bias)
    return torch.convolution(
        x,
        weight,
        bias,
        *geometry.arguments,
    )


def _gradients(
    ctx: FunctionCtx, x: Tensor, mixed: Tensor, grad: Tensor, geometry: Geometry
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Return the gradients of input, mixed weight and bias."""
    needs: Sequence[bool] = ctx.needs_input_grad  # type: ignore[attr-defined]
    has_bias: bool = ctx.has_bias  # type: ignore[attr-defined]
    if geometry.kind == "linear":
        weight = mixed if geometry.transposed_weight else mixed.t()
        grad_weight = grad.flatten(0, -2).t() @ x.flatten(0, -2)
        grad_x = grad @ weight if needs[1] else None
        grad_bias = grad.flatten(0, -2).sum(0) if has_bias else None
        return grad_x, grad_weight if geometry.transposed_weight else grad_weight.t(), grad_bias
    grad_x, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
        grad,
        x,
        mixed,
        [grad.shape[1]] if has_bias else None,
        *geometry.arguments,
        [needs[1], True, has_bias],
    )
    return grad_x, grad_weight, grad_bias if has_bias else None


def _option_gradient(mixture: Mixture, p: Tensor, weights: Sequence[Tensor], grad_mixed: Tensor) -> Tensor:
    """Return ∂L/∂p_k = ⟨∂L/∂W_mix, W_k⟩ for every option."""
    grad_p = torch.zeros_like(p)
    for option, weight in zip(mixture.options, weights, strict=False):
        grad_p[option] = torch.dot(grad_mixed.reshape(-1), weight.reshape(-1))
    if mixture.skip is not None:
        tap = _tap_of(grad_mixed, mixture)
        if len(weights) > len(mixture.options):
            grad_p[mixture.skip_option] = (tap * weights[-1][:, :, 0, 0]).sum()
        else:
            grad_p[mixture.skip_option] = _diagonal(tap, mixture.geometry.groups).sum()
    return grad_p


def _weight_gradients(
    mixture: Mixture, p: Tensor, weights: Sequence[Tensor], grad_mixed: Tensor, needs: Sequence[bool]
) -> list[Tensor | None]:
    """Return ∂L/∂W_k = p_k·∂L/∂W_mix for the kernels, and its tap for the projection, where asked for.

    This is the last use of ``grad_mixed``, so the last kernel's gradient takes its memory: on a large kernel fresh
    memory costs more than the arithmetic.
    """
    projected: list[Tensor | None] = []
    if len(weights) > len(mixture.options):
        tap = _tap_of(grad_mixed, mixture)
        projected = [(p[mixture.skip_option] * tap)[:, :, None, None] if needs[-1] else None]
    *first, last = mixture.options
    grads: list[Tensor | None] = [p[k] * grad_mixed if need else None for k, need in zip(first, needs, strict=False)]
    grads.append(grad_mixed.mul_(p[last]) if needs[len(first)] else None)
    return [*grads, *projected]
