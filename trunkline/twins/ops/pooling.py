"""Pooling over windows and over the whole image, by ONNX's and onnxruntime's rules for edges."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.graph import attribute
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.window import Window, torch_pads
from trunkline.twins.registry import register

_MAX: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@register("MaxPool")
def max_pool(node: ir.Node) -> Op:
    """Input ``[N, C, ...]``; pads count as minus infinity. The second output, if read, holds the maxima's positions."""
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        by_column = bool(attribute(node, "storage_order", 0))
        return Op(partial(_max_pool_with_positions, window=_window(node), by_column=by_column))
    return Op(partial(_max_pool, window=_window(node)))


@register("AveragePool")
def average_pool(node: ir.Node) -> Op:
    """Input ``[N, C, ...]``; with ``count_include_pad``, pads count in the mean."""
    return Op(partial(_average_pool, window=_window(node), count_pads=bool(attribute(node, "count_include_pad", 0))))


@register("GlobalAveragePool")
def global_average_pool(node: ir.Node) -> Op:
    """Mean over all spatial axes, which stay with size 1."""
    return Op(_global_average)


@register("GlobalMaxPool")
def global_max_pool(node: ir.Node) -> Op:
    """Maximum over all spatial axes, which stay with size 1."""
    return Op(_global_max)


def _window(node: ir.Node) -> Window:
    window = Window.of_pooling(node)
    if len(window.kernel) not in _MAX:
        raise unsupported_setting(node, f"{len(window.kernel)} spatial axes", "one, two or three are supported")
    return window


def _torch_pads_it(window: Window) -> bool:
    """Whether torch can pad: both sides of an axis by the same number, half the kernel at most."""
    is_narrow = all(2 * pad <= size for pad, size in zip(window.begins, window.kernel, strict=True))
    return window.is_symmetric and is_narrow


def _max_pool(x: Tensor, *, window: Window) -> Tensor:
    pool = _MAX[len(window.kernel)]
    if _torch_pads_it(window):
        return pool(x, window.kernel, window.strides, window.begins, window.dilations, window.ceil_mode)
    sizes = x.shape[2:]
    begins, ends = window.padding(sizes)
    more = window.overhang(sizes, begins, ends)
    # What ceil_mode reaches beyond the image is padded here, so torch has nothing left to round up.
    ends = [end + extra for end, extra in zip(ends, more, strict=True)]
    padded = F.pad(x, torch_pads(begins, ends), value=-float("inf"))
    return pool(padded, window.kernel, window.strides, 0, window.dilations)


def _max_pool_with_positions(x: Tensor, *, window: Window, by_column: bool) -> tuple[Tensor, Tensor]:
    """Torch counts positions within each plane, padding included; ONNX over the whole tensor, without padding.

    The last axis counts fastest, or ``by_column`` the first spatial one.
    """
    sizes = x.shape[2:]
    begins, ends = window.padding(sizes)
    more = window.overhang(sizes, begins, ends)
    ends = [end + extra for end, extra in zip(ends, more, strict=True)]
    padded = F.pad(x, torch_pads(begins, ends), value=-float("inf"))
    pool = _MAX[len(window.kernel)]
    maxima, found = pool(padded, window.kernel, window.strides, 0, window.dilations, return_indices=True)
    # Take torch's position apart axis by axis, the last one first, and drop the padding before the first pixel.
    places: list[tuple[Tensor, int]] = []
    for size, full, begin in zip(reversed(sizes), reversed(padded.shape[2:]), reversed(begins), strict=True):
        places.append((found % full - begin, size))
        found = found // full
    # Put it together again by the image's own sizes; ONNX's storage_order 1 counts columns first.
    position, step = torch.zeros_like(found), 1
    for place, size in reversed(places) if by_column else places:
        position, step = position + place * step, step * size
    planes = torch.arange(x.shape[0] * x.shape[1], device=x.device).reshape(*x.shape[:2], *[1] * len(sizes))
    return maxima, position + planes * step


def _average_pool(x: Tensor, *, window: Window, count_pads: bool) -> Tensor:
    """Let torch pad where it can; else divide the mean of the padded image by the counted part of each window."""
    pool = _AVERAGE[len(window.kernel)]
    if _torch_pads_it(window):
        return pool(x, window.kernel, window.strides, window.begins, window.ceil_mode, count_pads)
    sizes = x.shape[2:]
    begins, ends = window.padding(sizes)
    more = window.overhang(sizes, begins, ends)
    counted = F.pad(x.new_ones((1, 1, *sizes)), torch_pads(begins, ends), value=float(count_pads))
    # Pixels beyond the padding, which only ceil_mode reaches, never count; onnxruntime has it so too.
    counted = F.pad(counted, torch_pads([0] * len(more), more))
    whole = torch_pads(begins, [end + extra for end, extra in zip(ends, more, strict=True)])
    return pool(F.pad(x, whole), window.kernel, window.strides) / pool(counted, window.kernel, window.strides)


def _global_average(x: Tensor) -> Tensor:
    return x.mean(dim=list(range(2, x.dim())), keepdim=True)


def _global_max(x: Tensor) -> Tensor:
    return x.amax(dim=list(range(2, x.dim())), keepdim=True)
