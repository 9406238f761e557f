"""Pooling by a p-norm, over windows and over the whole image."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.graph import attribute
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.window import Window, torch_pads
from trunkline.twins.registry import register


@register("LpPool")
def lp_pool(node: ir.Node) -> Op:
    """Input ``[N, C, ...]``, any number of spatial axes; pads count as zero."""
    return Op(partial(_lp_pool, window=Window.of_pooling(node), p=_power(node)))


@register("GlobalLpPool")
def global_lp_pool(node: ir.Node) -> Op:
    """The norm over all spatial axes, which stay with size 1."""
    return Op(partial(_global_lp_pool, p=_power(node)))


def _power(node: ir.Node) -> int:
    p: int = attribute(node, "p", 2)
    if p < 1:
        raise unsupported_setting(node, f"p {p}", "the power must be at least 1")
    return p


def _lp_pool(x: Tensor, *, window: Window, p: int) -> Tensor:
    # torch's own lp_pool has neither padding nor dilation.
    sizes = x.shape[2:]
    begins, ends = window.padding(sizes)
    more = window.overhang(sizes, begins, ends)
    pads = torch_pads(begins, [end + extra for end, extra in zip(ends, more, strict=True)])
    total = _window_sums(F.pad(x.abs().pow(p), pads), window)
    # The root has no finite slope at 0, where a window is empty: its gradient is 0, as a norm's is.
    is_empty = total == 0
    return torch.where(is_empty, 0.0, torch.where(is_empty, 1.0, total).pow(1.0 / p))


def _window_sums(x: Tensor, window: Window) -> Tensor:
    """Sum over windows, one axis after the other."""
    spatial = zip(window.extents, window.strides, window.dilations, strict=True)
    for axis, (extent, stride, dilation) in enumerate(spatial, start=2):
        x = x.unfold(axis, extent, stride)[..., ::dilation].sum(-1)
    return x


def _global_lp_pool(x: Tensor, *, p: int) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, p, dim=list(range(2, x.dim())), keepdim=True)
    return norm
