"""Convolution and transposed convolution over one, two or three spatial axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.graph import attribute, shape_of
from trunkline.twins import precise
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import rank_of
from trunkline.twins.ops.common.window import Window, split_padding, torch_pads
from trunkline.twins.registry import register

_CONV: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@register("Conv")
def conv(node: ir.Node) -> Op:
    """Inputs: data ``[N, C, ...]``, weight ``[M, C/group, ...]``, bias ``[M]``."""
    return Op(partial(_conv, window=_window(node), groups=attribute(node, "group", 1)), casts=True)


@register("ConvTranspose")
def conv_transpose(node: ir.Node) -> Op:
    """Inputs: data ``[N, C, ...]``, weight ``[C, M/group, ...]``, bias ``[M]``."""
    window = _window(node)
    settings = {
        "window": window,
        "groups": attribute(node, "group", 1),
        "extra": tuple(attribute(node, "output_padding", [0] * len(window.kernel))),
        "sizes": tuple(attribute(node, "output_shape", ())[-len(window.kernel) :]),
    }
    return Op(partial(_conv_transpose, **settings))


def _window(node: ir.Node) -> Window:
    weight = node.inputs[1]
    assert weight is not None
    if rank_of(node) - 2 not in _CONV:
        raise unsupported_setting(node, f"{rank_of(node) - 2} spatial axes", "one, two or three are supported")
    # kernel_shape is optional in ONNX, so the weight's own shape counts.
    return Window.of(node, [size or 1 for size in shape_of(weight)[2:]])


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, window: Window, groups: int) -> Tensor:
    padding = window.begins
    # torch pads both sides of an axis by the same number.
    if not window.is_symmetric:
        x = F.pad(x, torch_pads(*window.padding(x.shape[2:])))
        padding = (0,) * len(window.kernel)
    convolve = _CONV[len(window.kernel)]
    # A float64 reference run leaves large weights in float32; see the module `precise`.
    if x.dtype == torch.float64:
        return precise.convolution(convolve, x, weight, bias, window.strides, padding, window.dilations, groups)
    return convolve(x, weight, bias, window.strides, padding, window.dilations, groups)


def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    window: Window,
    groups: int,
    extra: tuple[int, ...],
    sizes: tuple[int, ...],
) -> Tensor:
    """Let torch cut both sides of an axis by the same number; else make the whole result and cut it to size."""
    convolve = _TRANSPOSED[len(window.kernel)]
    if window.is_symmetric and not sizes:
        return convolve(x, weight, bias, window.strides, window.begins, extra, groups, window.dilations)
    begins, ends = _cuts(x, window, extra, sizes)
    # The bias waits for the end: pixels that output_padding adds get it too.
    whole = convolve(x, weight, None, window.strides, 0, 0, groups, window.dilations)
    y = F.pad(whole, torch_pads([-cut for cut in begins], [more - cut for more, cut in zip(extra, ends, strict=True)]))
    return y if bias is None else y + bias.reshape(-1, *[1] * len(window.kernel))


def _cuts(
    x: Tensor, window: Window, extra: tuple[int, ...], sizes: tuple[int, ...]
) -> tuple[list[int] | tuple[int, ...], list[int] | tuple[int, ...]]:
    """Return how much to cut before and after each axis; ``SAME_*`` and wanted sizes fix only the sum of both."""
    if not sizes and not window.auto_pad.startswith("SAME"):
        return window.begins, window.ends
    # ONNX: under SAME_* the output is the input times the stride, and output_shape overrides the pads.
    wanted = sizes or [size * stride for size, stride in zip(x.shape[2:], window.strides, strict=True)]
    whole = [
        stride * (size - 1) + extent + more
        for size, stride, extent, more in zip(x.shape[2:], window.strides, window.extents, extra, strict=True)
    ]
    surplus = [max(0, size - target) for size, target in zip(whole, wanted, strict=True)]
    return split_padding(surplus, window.auto_pad)
