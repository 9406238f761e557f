"""Convolutions and products in float64, on weights that are stored in float32: the truth that parity compares with.

A float64 copy of a network takes twice its memory. So weights stay as they are, and operators with large weights cast
them a block of output channels at a time. This is done for a float64 image; see :class:`trunkline.twins.twin.Twin`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_NUMBERS = 2**20
"""A weight of more numbers than this is cast in blocks of about so many: 8 MiB in float64.

The allocator hands out blocks of this size again and again; those of 32 MiB it keeps.
"""

_SMALL_MAP = 64 * 64
"""Positions, up to which a depthwise convolution is quicker by taps."""


def convolution(
    convolve: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Tensor:
    """Return the convolution of float64 ``x`` by a weight ``[M, C/groups, ...]`` of any float type."""
    bias = None if bias is None else bias.double()
    # Rows of a grouped weight read different channels of the image, so only a dense one is cut into blocks.
    if groups == 1:
        parts = [
            convolve(x, block, None if bias is None else bias[rows], strides, padding, dilations)
            for rows, block in _blocks(weight)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    weight = weight.double()
    is_depthwise = weight.shape[1] == 1 and groups == weight.shape[0] == x.shape[1]
    if is_depthwise and x.dim() == 4 and x.shape[2] * x.shape[3] <= _SMALL_MAP:
        return _by_taps(x, weight, bias, strides, padding, dilations)
    return convolve(x, weight, bias, strides, padding, dilations, groups)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x`` ``[..., K]`` in float64 times the transpose of a weight ``[M, K]`` of any float type."""
    bias = None if bias is None else bias.double()
    parts = [F.linear(x, block, None if bias is None else bias[rows]) for rows, block in _blocks(weight)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of two operands, one of which at least is in float64."""
    # Only a large stored weight comes here in another type: whatever is computed or small is cast before.
    if b.dim() == 2 and b.dtype != torch.float64:
        return linear(a.double(), b.t())
    return torch.matmul(a.double(), b.double())


def _blocks(weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield a weight in float64 by blocks of its first axis, with the rows of each."""
    height = weight.shape[0]
    if weight.dtype != torch.float64 and weight.numel() > BLOCK_NUMBERS:
        # A single row may hold more numbers than a block should.
        height = max(1, BLOCK_NUMBERS * height // weight.numel())
    for start in range(0, weight.shape[0], height):
        rows = slice(start, start + height)
        yield rows, weight[rows].double()


def _by_taps(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
) -> Tensor:
    """Add up the taps of a depthwise kernel ``[C, 1, h, w]``: torch would run one convolution for each channel."""
    x = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    spans = [dilation * (size - 1) for dilation, size in zip(dilations, weight.shape[2:], strict=True)]
    counts = [(size - span - 1) // s + 1 for size, span, s in zip(x.shape[2:], spans, strides, strict=True)]
    lasts = [stride * (count - 1) + 1 for stride, count in zip(strides, counts, strict=True)]
    total = x.new_zeros(*x.shape[:2], *counts)
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            top, left = i * dilations[0], j * dilations[1]
            seen = x[:, :, top : top + lasts[0] : strides[0], left : left + lasts[1] : strides[1]]
            total = total.addcmul(seen, weight[:, 0, i, j].reshape(1, -1, 1, 1))
    return total if bias is None else total + bias.reshape(1, -1, 1, 1)
