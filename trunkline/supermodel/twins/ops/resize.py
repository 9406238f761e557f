"""Resize, nearest and linear, in the coordinates ONNX and onnxruntime use.

Resizing is separable, so each axis is a small problem of its own (:class:`Axis`): every output pixel looks at
one source pixel (nearest) or two (linear). Coordinates are computed in single precision, as onnxruntime does, so
that ties fall on the same side. Where repetition or torch's own interpolation is the same thing, it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.ingest.graph import attribute, shape_of
from trunkline.supermodel.twins.registry import Op, refuse, register
from trunkline.supermodel.twins.settings import floats, ints

_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_TORCH_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis is resized: by a scale, or (``scale`` 0) to a size.

    Attributes:
        coordinates: ONNX's ``coordinate_transformation_mode``.
        rounding: ONNX's ``nearest_mode``; unused by linear.
    """

    index: int
    scale: float
    size: int
    coordinates: str
    rounding: str

    def target(self, source: int) -> int:
        """Return the output size for an axis of ``source`` pixels."""
        return self.size or int(source * self.scale)

    def factor(self, source: int) -> float:
        """Return output pixels per source pixel."""
        return self.scale or self.size / source

    def is_identity(self, source: int) -> bool:
        """Whether every output pixel is its source pixel."""
        return self.target(source) == source and self.factor(source) == 1.0

    def positions(self, source: int, device: torch.device) -> Tensor:
        """Return where each output pixel lies in the source, ``[target]``, in source pixels."""
        target = self.target(source)
        at = torch.arange(target, device=device, dtype=torch.float32)
        if self.coordinates == "align_corners":
            return at * (source - 1) / (target - 1) if target > 1 else at * 0
        if self.coordinates == "pytorch_half_pixel" and target == 1:
            return at * 0
        scale = torch.full((1,), self.factor(source), device=device, dtype=torch.float32)
        return at / scale if self.coordinates == "asymmetric" else (at + 0.5) / scale - 0.5

    def repeats(self, source: int) -> bool:
        """Whether nearest is plain repetition: a whole factor, and coordinates and rounding that agree on it."""
        target = self.target(source)
        if target % source or self.factor(source) != target // source:
            return False
        if self.coordinates == "asymmetric":
            return self.rounding == "floor"
        return self.coordinates == "half_pixel" and self.rounding.startswith("round")


@register("Resize")
def resize(node: ir.Node) -> Op:
    """Inputs: data, roi (unused), scales or sizes. The batch axis is never resized.

    Raises:
        UnsupportedOp: Cubic interpolation, antialiasing, cropping, or an aspect-ratio policy.
    """
    mode = attribute(node, "mode", "nearest")
    _refuse_unknown(node, mode)
    axes = _axes_of(node)
    return Op(partial(_resize, axes=axes, resample=_nearest if mode == "nearest" else _linear))


def _refuse_unknown(node: ir.Node, mode: str) -> None:
    coordinates = attribute(node, "coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear"):
        raise refuse(node, f"mode {mode!r}", "supported: nearest, linear")
    if coordinates not in _COORDINATES:
        raise refuse(node, f"coordinates {coordinates!r}", f"supported: {', '.join(_COORDINATES)}")
    if attribute(node, "nearest_mode", _ROUNDINGS[0]) not in _ROUNDINGS:
        raise refuse(node, f"nearest_mode {attribute(node, 'nearest_mode')!r}", f"supported: {', '.join(_ROUNDINGS)}")
    if attribute(node, "antialias", 0):
        raise refuse(node, "antialias", "resize without it, or in the data pipeline")
    if attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise refuse(node, "a keep_aspect_ratio_policy", "give the scales of both axes")


def _axes_of(node: ir.Node) -> tuple[Axis, ...]:
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data)
    scales, sizes = floats(node, 2), ints(node, 3)
    wanted = [(scale, 0) for scale in scales] if scales else [(0.0, size) for size in sizes or []]
    indices = [axis % len(shape) for axis in attribute(node, "axes") or range(len(shape))]
    if len(wanted) != len(indices):
        raise refuse(node, f"{len(wanted)} scales or sizes for {len(indices)} axes")
    settings = (
        attribute(node, "coordinate_transformation_mode", "half_pixel"),
        attribute(node, "nearest_mode", _ROUNDINGS[0]),
    )
    axes = [Axis(index, scale, size, *settings) for index, (scale, size) in zip(indices, wanted, strict=True)]
    if any(axis.index == 0 and axis.scale not in (0.0, 1.0) for axis in axes):
        raise refuse(node, "a resized batch axis")
    return tuple(axis for axis in axes if axis.index and not axis.is_identity(shape[axis.index] or 0))


def _resize(
    x: Tensor, *_static: Tensor | None, axes: tuple[Axis, ...], resample: Callable[[Tensor, tuple[Axis, ...]], Tensor]
) -> Tensor:
    """Like onnxruntime, copy an image whose size does not change, even where a scale such as 1.1 would shift it."""
    if all(axis.target(x.shape[axis.index]) == x.shape[axis.index] for axis in axes):
        return x
    return resample(x, axes)


def _nearest(x: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    for axis in axes:
        source = x.shape[axis.index]
        if axis.repeats(source):
            x = x.repeat_interleave(axis.target(source) // source, dim=axis.index)
        else:
            at = _round(axis.positions(source, x.device), axis.rounding)
            x = x.index_select(axis.index, at.clamp(0, source - 1).long())
    return x


def _round(at: Tensor, rounding: str) -> Tensor:
    """Round to whole pixels; onnxruntime calls it a tie already when it is within a millionth of one."""
    if rounding == "floor":
        return at.floor()
    if rounding == "ceil":
        return at.ceil()
    low = at.floor()
    is_tie = (at - (low + 0.5)).abs() < 1e-6
    return torch.where(is_tie, low if rounding == "round_prefer_floor" else low + 1, (at + 0.5).floor())


def _linear(x: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    if _torch_agrees(x, axes):
        sizes = list(x.shape)
        for axis in axes:
            sizes[axis.index] = axis.target(x.shape[axis.index])
        corners = axes[0].coordinates == "align_corners"
        return F.interpolate(x, sizes[2:], mode=_TORCH_LINEAR[x.dim()], align_corners=corners)
    for axis in axes:
        x = _blend(x, axis)
    return x


def _torch_agrees(x: Tensor, axes: tuple[Axis, ...]) -> bool:
    """Torch derives the scale from the sizes, so it must be exactly that, and only spatial axes may change."""
    if x.dim() not in _TORCH_LINEAR or axes[0].coordinates == "asymmetric":
        return False
    for axis in axes:
        source = x.shape[axis.index]
        target = axis.target(source)
        if axis.index < 2 or axis.factor(source) * source != target:
            return False
        if axis.coordinates == "pytorch_half_pixel" and target == 1:
            return False
    return True


def _blend(x: Tensor, axis: Axis) -> Tensor:
    source = x.shape[axis.index]
    at = axis.positions(source, x.device).clamp(0, source - 1)
    low = at.floor().long()
    high = (low + 1).clamp(max=source - 1)
    share = (at - low).to(x.dtype).reshape(-1, *[1] * (x.dim() - axis.index - 1))
    return x.index_select(axis.index, low) * (1 - share) + x.index_select(axis.index, high) * share
