"""GridSample: an image read at positions that another value gives (Jaderberg et al. 2015)."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.graph import attribute
from trunkline.text import quoted
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import rank_of
from trunkline.twins.registry import register

# torch calls the interpolation of volumes bilinear too, and has no cubic one.
_MODES = {4: ("bilinear", "nearest", "bicubic"), 5: ("bilinear", "nearest")}
_PADDINGS = ("zeros", "border", "reflection")


@register("GridSample")
def grid_sample(node: ir.Node) -> Op:
    """Inputs: data ``[N, C, H, W]``, positions ``[N, H', W', 2]`` as x and y from -1 to 1; or volumes, by x, y, z."""
    mode, padding = attribute(node, "mode", "bilinear"), attribute(node, "padding_mode", "zeros")
    modes = _MODES.get(rank_of(node))
    if modes is None:
        raise unsupported_setting(node, f"an input of {rank_of(node)} axes", "four or five were expected")
    if mode not in modes:
        raise unsupported_setting(node, f"mode {quoted(str(mode))}", f"supported: {', '.join(modes)}")
    if padding not in _PADDINGS:
        raise unsupported_setting(node, f"padding_mode {quoted(str(padding))}", f"supported: {', '.join(_PADDINGS)}")
    corners = bool(attribute(node, "align_corners", 0))
    return Op(partial(_grid_sample, mode=mode, padding=padding, corners=corners))


def _grid_sample(x: Tensor, grid: Tensor, *, mode: str, padding: str, corners: bool) -> Tensor:
    return F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=corners)
