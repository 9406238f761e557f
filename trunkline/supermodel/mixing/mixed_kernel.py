"""The options of a unit as one kernel.

Σ_k p_k·W_k is memory traffic and nothing else, so a kernel is mixed in one of two ways, by its size:

* *whole*: p_0·W_0 + p_1·W_1, and the skip added at its tap. For kernels that are smaller than the feature map.
* *split*: with s = p_0 + p_1, the kernel lerp(W_0, W_1, p_1/s) in a single pass; s is multiplied into the input, and
  the skip is added to the output. For kernels that are larger than the map, where the passes over it cost less.

Both are exact, and an option whose weight is 0 leaves no trace in either: a pixel that is 0 stays 0, so that a ReLU
behind it blocks the same gradients as in the lowered model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trunkline.sharing.skip import Skip
from trunkline.supermodel.mixing.linear_operator import Geometry, apply_padded, apply_skip
from trunkline.supermodel.mixing.places import OWN, SHARED, SKIPPED

_LOCAL = threading.local()
"""Memory for mixed kernels, each thread's own: two threads would overwrite each other's."""
_SMALLEST = 1e-30
_BLOCK = 1 << 17
"""Numbers in a block: half a megabyte. Five blocks are used together, and second-level caches hold that."""
_MixBlock = Callable[[Tensor, Tensor, Tensor], None]


@dataclass(frozen=True, slots=True)
class Mixture:
    """A unit's operator and its skip, if it has one."""

    geometry: Geometry
    skip: Skip | None

    def tap_of(self, kernel: Tensor) -> Tensor:
        """Return the view of ``kernel`` that the skip occupies: ``[C_out, C_in / groups]``."""
        assert self.skip is not None
        return kernel if self.geometry.kind == "linear" else kernel[:, :, self.skip.tap[0], self.skip.tap[1]]

    def diagonal_of(self, kernel: Tensor) -> Tensor:
        """Return the entries of the tap that pass channel c to channel c, as a view ``[groups, C / groups]``."""
        tap, groups = self.tap_of(kernel), self.geometry.groups
        return tap.view(groups, tap.shape[0] // groups, tap.shape[1]).diagonal(dim1=1, dim2=2)


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels of a unit's options for one task.

    Attributes:
        shared: Of the backbone's own instance, ``[K, C / groups, kh, kw]`` or of a linear layer ``[K, C]``.
        own: The same of the task's instance.
        projection: Of a skip that changes channels, ``[K, C / groups, 1, 1]``.
    """

    shared: Tensor
    own: Tensor
    projection: Tensor | None


@dataclass(frozen=True, slots=True)
class MixedKernel:
    """A mix, not differentiable by itself.

    Attributes:
        mixture: What is mixed.
        kernel: The kernel to run. On the CPU the next mix overwrites it.
        scale: Of a split mix, s: what the input is multiplied by.
        skip: Of a split mix, the weight of the skip that is added to the output.
    """

    mixture: Mixture
    kernel: Tensor
    scale: Tensor | None = None
    skip: Tensor | None = None

    def apply(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Apply the mix to an already padded input."""
        scaled = x if self.scale is None else x * self.scale
        y = apply_padded(scaled, self.kernel, bias, self.mixture.geometry)
        if self.skip is not None and self.mixture.skip is not None:
            # In place: nothing needs the output without the skip, since the backward pass mixes again.
            y.addcmul_(apply_skip(self.mixture.skip, x, None), self.skip)
        return y

    def complete_input_gradient(self, grad_x: Tensor, grad: Tensor) -> None:
        """Turn the gradient through ``kernel`` alone into the gradient through the mix, in place."""
        if self.scale is not None:
            grad_x.mul_(self.scale)
        if self.skip is not None and self.mixture.skip is not None:
            # A skip without a projection is a view, so what is added to it is added to the gradient.
            apply_skip(self.mixture.skip, grad_x, None).addcmul_(grad, self.skip)


def mix(
    mixture: Mixture, p: Tensor, kernels: Kernels, x: Tensor, visit: Callable[[Tensor, Tensor], None] | None = None
) -> MixedKernel:
    """Mix the options for a padded input.

    Args:
        mixture: What is mixed.
        p: Weights of the options, ``[3]``.
        kernels: The options' weights.
        x: The input; the kernel gets its type.
        visit: Called with each of :func:`blocks_of` the shared and the own kernel as soon as they are mixed: on the
            CPU they are in the cache then, and reading a large kernel once more costs as much as mixing it.
    """
    # A projection has a kernel of its own to add, and an input that was padded beforehand is no input for the skip.
    split = kernels.shared.numel() > x.numel() and kernels.projection is None and mixture.geometry.symmetric
    mix_block = _split(p) if split else _whole(p)
    kernel = _buffer_like(kernels.shared)
    if visit is None:
        mix_block(kernels.shared, kernels.own, kernel)
    else:
        for shared, own, out in zip(*map(blocks_of, (kernels.shared, kernels.own, kernel)), strict=True):
            mix_block(shared, own, out)
            visit(shared, own)
    if split:
        skip = None if mixture.skip is None else p[SKIPPED].to(x.dtype)
        # The scale keeps its type, as the weights in a whole mix do: in bfloat16 it would lose 16 of its 24 bits.
        return MixedKernel(mixture, kernel.to(x.dtype), p[SHARED] + p[OWN], skip)
    if kernels.projection is not None:
        mixture.tap_of(kernel).add_(p[SKIPPED] * kernels.projection[:, :, 0, 0])
    elif mixture.skip is not None:
        mixture.diagonal_of(kernel).add_(p[SKIPPED])
    return MixedKernel(mixture, kernel.to(x.dtype))


def _whole(p: Tensor) -> _MixBlock:
    p_shared, p_own = p[SHARED], p[OWN]

    def mix_block(shared: Tensor, own: Tensor, out: Tensor) -> None:
        torch.mul(shared, p_shared, out=out).addcmul_(own, p_own)

    return mix_block


def _split(p: Tensor) -> _MixBlock:
    # Where only the skip is chosen, s = 0, and any kernel does: it is multiplied by s.
    ratio = p[OWN] / (p[SHARED] + p[OWN]).clamp_min(_SMALLEST)

    def mix_block(shared: Tensor, own: Tensor, out: Tensor) -> None:
        torch.lerp(shared, own, ratio, out=out)

    return mix_block


def blocks_of(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return flat blocks that a cache holds, in order: views of a contiguous tensor.

    On a GPU it is one block: there, launching many small operations costs more than memory.
    """
    return torch.split(tensor.reshape(-1), _BLOCK if tensor.device.type == "cpu" else tensor.numel())


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
