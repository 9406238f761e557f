"""Operators that add elements around a tensor, or cut some off."""

from __future__ import annotations

from functools import partial

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.graph import attribute, shape_of
from trunkline.text import quoted
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import rank_of, static_ints, static_number
from trunkline.twins.ops.common.window import torch_pads
from trunkline.twins.registry import register

_TORCH_MODE = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}

Pads = tuple[tuple[int, int], ...]
"""Before and after each axis; a negative number cuts."""


@register("Pad")
def pad(node: ir.Node) -> Op:
    """Inputs: data, pads, value, axes. Modes ``constant``, ``reflect`` and ``edge``, on any axes."""
    mode = attribute(node, "mode", "constant")
    if mode not in _TORCH_MODE:
        raise unsupported_setting(node, f"mode {quoted(str(mode))}", f"supported modes: {', '.join(_TORCH_MODE)}")
    pads = _all_pads(node)
    if mode == "reflect":
        _check_mirror(node, pads)
    if mode == "constant" or _torch_pads_it(pads):
        # torch fills with a constant on any axes, and repeats pixels only behind batch and channels.
        padded = pads if mode == "constant" else pads[2:]
        flat = tuple(torch_pads(*zip(*padded, strict=True)))
        return Op(partial(_pad, pads=flat, mode=_TORCH_MODE[mode], value=static_number(node, 2, 0.0)))
    return Op(partial(_repeat_outwards, pads=pads, mirrored=mode == "reflect"))


@register("CenterCropPad")
def center_crop_pad(node: ir.Node) -> Op:
    """Inputs: data, sizes of ``axes``. The middle is kept; an odd pixel is cut, or padded, at the end."""
    rank = rank_of(node)
    sizes = static_ints(node, 1) or []
    axes = attribute(node, "axes") or list(range(rank))
    return Op(partial(_center, wanted=tuple(zip((axis % rank for axis in axes), sizes, strict=True))))


def _all_pads(node: ir.Node) -> Pads:
    """Return the pads of every axis, given for the axes that input 3 names, or for all."""
    rank = rank_of(node)
    axes = static_ints(node, 3) or list(range(rank))
    # ONNX: first what goes before each named axis, then what goes behind them.
    pads = static_ints(node, 1) or []
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[i], pads[i + len(axes)]
    return tuple(zip(begins, ends, strict=True))


def _torch_pads_it(pads: Pads) -> bool:
    """Whether torch can repeat pixels here: on one to three axes after batch and channels, without cutting any."""
    has_spatial_axes = 3 <= len(pads) <= 5
    outer_stay = not any(map(any, pads[:2]))
    return has_spatial_axes and outer_stay and min(map(min, pads)) >= 0


def _check_mirror(node: ir.Node, pads: Pads) -> None:
    """Refuse to mirror further than the axis is long, which runtimes refuse too."""
    read = node.inputs[0]
    assert read is not None
    for axis, (size, pair) in enumerate(zip(shape_of(read), pads, strict=True)):
        # Negative pads cut first, and the mirror sees what is left. A free batch has no length to rely on.
        left = 0 if size is None else size + min(0, pair[0]) + min(0, pair[1])
        if max(pair) > 0 and max(pair) >= left:
            raise unsupported_setting(
                node, f"mode 'reflect' by {max(pair)} on axis {axis} of {left}", "pad by less than the size"
            )


def _pad(x: Tensor, *_static: Tensor | None, pads: tuple[int, ...], mode: str, value: float) -> Tensor:
    return F.pad(x, pads, mode, value if mode == "constant" else None)


def _repeat_outwards(x: Tensor, *_static: Tensor | None, pads: Pads, mirrored: bool) -> Tensor:
    for axis, (begin, end) in enumerate(pads):
        if begin or end:
            size = x.shape[axis]
            at = torch.arange(-begin, size + end, device=x.device)
            x = x.index_select(axis, _mirror(at, size) if mirrored else at.clamp(0, size - 1))
    return x


def _mirror(at: Tensor, size: int) -> Tensor:
    """Turn back at the first and the last element; neither is repeated."""
    return size - 1 - (size - 1 - at.abs()).abs()


def _center(x: Tensor, *_static: Tensor | None, wanted: tuple[tuple[int, int], ...]) -> Tensor:
    for axis, size in wanted:
        more = size - x.shape[axis]
        # The smaller half goes before, both for padding and (negative) for cutting.
        before = more // 2 if more > 0 else -(-more // 2)
        x = F.pad(x, [0, 0] * (x.dim() - 1 - axis) + [before, more - before])
    return x
