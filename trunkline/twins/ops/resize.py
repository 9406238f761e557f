"""Resize: nearest, linear and cubic, in every coordinate mode that opset 18 has.

Resizing is separable, so each axis is a small problem of its own (``common/resampling.py``). Where repetition or
torch's own interpolation is the same thing, it is used.
"""

from __future__ import annotations

from functools import partial

import onnx_ir as ir
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.graph import attribute, shape_of
from trunkline.text import quoted
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.resampling import COORDINATES, ROUNDINGS, Axis, Kernel
from trunkline.twins.ops.common.static_inputs import static_floats, static_ints
from trunkline.twins.registry import register

_TORCH = {("linear", 3): "linear", ("linear", 4): "bilinear", ("linear", 5): "trilinear", ("cubic", 4): "bicubic"}
_TORCH_COEFFICIENT = -0.75
_WHOLE = (0.0, 1.0)
"""The region of an axis that is not cropped."""


@register("Resize")
def resize(node: ir.Node) -> Op:
    """Inputs: data, region, scales or sizes. The batch axis is never resized.

    Raises:
        UnsupportedOp: A mode ONNX does not have, a resized batch axis, or what runtimes do not agree on.
    """
    kernel = _kernel(node)
    axes = _axes_of(node)
    _refuse_unchanged_crop(node, axes)
    return Op(partial(_resize, axes=axes, kernel=kernel))


def _kernel(node: ir.Node) -> Kernel:
    """Read how pixels are weighed; refuse modes that opset 18 does not have."""
    mode, coordinates = attribute(node, "mode", "nearest"), _coordinates(node)
    if mode not in ("nearest", "linear", "cubic"):
        raise unsupported_setting(node, f"mode {quoted(str(mode))}", "supported: nearest, linear, cubic")
    if coordinates not in COORDINATES:
        raise unsupported_setting(
            node, f"coordinates {quoted(str(coordinates))}", f"supported: {', '.join(COORDINATES)}"
        )
    rounding = attribute(node, "nearest_mode", ROUNDINGS[0])
    if rounding not in ROUNDINGS:
        raise unsupported_setting(node, f"nearest_mode {quoted(str(rounding))}", f"supported: {', '.join(ROUNDINGS)}")
    excludes_outside, is_antialiased = (bool(attribute(node, name, 0)) for name in ("exclude_outside", "antialias"))
    if excludes_outside and mode != "cubic" and not is_antialiased:
        raise unsupported_setting(
            node, f"exclude_outside in mode {quoted(str(mode))}", "leave it out: it only matters to mode cubic"
        )
    return Kernel(
        mode=mode,
        rounding=rounding,
        coefficient=attribute(node, "cubic_coeff_a", _TORCH_COEFFICIENT),
        # nearest weighs no pixels, so neither means anything to it.
        is_antialiased=is_antialiased and mode != "nearest",
        excludes_outside=excludes_outside and mode != "nearest",
        outside=attribute(node, "extrapolation_value", 0.0) if coordinates == "tf_crop_and_resize" else None,
    )


def _coordinates(node: ir.Node) -> str:
    coordinates: str = attribute(node, "coordinate_transformation_mode", "half_pixel")
    return coordinates


def _axes_of(node: ir.Node) -> tuple[Axis, ...]:
    """Return the axes that change, each with its scale or size and its region; the others are left out."""
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data)
    indices = [axis % len(shape) for axis in attribute(node, "axes") or range(len(shape))]
    wanted, regions = _targets(node, [shape[index] for index in indices]), _regions(node, len(indices))
    if len(wanted) != len(indices):
        raise unsupported_setting(node, f"{len(wanted)} scales or sizes for {len(indices)} axes")
    coordinates = _coordinates(node)
    axes = []
    for index, (scale, size), region in zip(indices, wanted, regions, strict=True):
        axis = Axis(index, scale, size, coordinates, region)
        if index == 0:
            _refuse_resized_batch(node, axis)
        elif not axis.is_identity(shape[index] or 0):
            axes.append(axis)
    return tuple(axes)


def _refuse_resized_batch(node: ir.Node, batch: Axis) -> None:
    # A scale of 0 means that a size is given: that of the batch, which is free and so cannot be compared.
    if batch.scale not in (0.0, 1.0) or batch.region != _WHOLE:
        raise unsupported_setting(node, "a resized batch axis")


def _targets(node: ir.Node, sources: list[int | None]) -> list[tuple[float, int]]:
    """Return scale and size of each axis; 0 for what is not given."""
    scales, sizes = static_floats(node, 2), static_ints(node, 3) or []
    # ONNX: a file gives scales or sizes, never both; an empty tensor means not given.
    if scales:
        return [(scale, 0) for scale in scales]
    policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
    if policy == "stretch" or len(sizes) != len(sources):
        return [(0.0, size) for size in sizes]
    if policy not in ("not_larger", "not_smaller"):
        raise unsupported_setting(
            node, f"keep_aspect_ratio_policy {quoted(str(policy))}", "supported: stretch, not_larger, not_smaller"
        )
    fits = [size / source for size, source in zip(sizes, sources, strict=True) if source]
    if len(fits) != len(sources):
        raise unsupported_setting(node, "a keep_aspect_ratio_policy over the batch axis", "name the spatial axes only")
    # ONNX: one scale for all axes, such that none gets larger (or smaller) than its size; halves are rounded up.
    scale = min(fits) if policy == "not_larger" else max(fits)
    return [(scale, int(scale * source + 0.5)) for source in sources if source]


def _regions(node: ir.Node, count: int) -> list[tuple[float, float]]:
    # ONNX: the region is only read in this coordinate mode, whatever a file stores there.
    if _coordinates(node) != "tf_crop_and_resize":
        return [_WHOLE] * count
    region = static_floats(node, 1) or []
    if len(region) != 2 * count:
        raise unsupported_setting(node, f"a region of {len(region)} numbers for {count} axes")
    # All starts come first, then all ends.
    return list(zip(region[:count], region[count:], strict=True))


def _refuse_unchanged_crop(node: ir.Node, axes: tuple[Axis, ...]) -> None:
    """Refuse what runtimes read differently: onnxruntime copies an axis that keeps its size, ONNX defines a crop."""
    data = node.inputs[0]
    assert data is not None
    sources = shape_of(data)
    cropped = [axis for axis in axes if axis.region != _WHOLE]
    if any(axis.target(sources[axis.index] or 0) == sources[axis.index] for axis in cropped):
        raise unsupported_setting(node, "a crop that is enlarged to the full size again", "crop with Slice first")


def _resize(x: Tensor, *_static: Tensor | None, axes: tuple[Axis, ...], kernel: Kernel) -> Tensor:
    """Return the resized image, by the cheapest way that gives the same numbers."""
    # onnxruntime copies an image whose size does not change, even where a scale such as 1.1 would shift it.
    if all(axis.target(x.shape[axis.index]) == x.shape[axis.index] for axis in axes):
        return x
    if kernel.mode != "nearest" and _torch_agrees(x, axes, kernel):
        return _by_torch(x, axes, kernel)
    for axis in axes:
        times = _repeats(x.shape[axis.index], axis, kernel)
        x = x.repeat_interleave(times, dim=axis.index) if times else kernel.resample(x, axis)
    return x


def _repeats(source: int, axis: Axis, kernel: Kernel) -> int:
    """Return how often nearest repeats each pixel: a whole factor, and coordinates and rounding that agree on it."""
    target = axis.target(source)
    # A scale such as 2.1 may give twice the size, and still look at other pixels.
    if kernel.mode != "nearest" or target % source or axis.factor(source) != target // source:
        return 0
    # Output pixel i looks at i / n, which floors to its source pixel, or at (i + 0.5) / n - 0.5, which rounds to it.
    agrees = {"asymmetric": kernel.rounding == "floor", "half_pixel": kernel.rounding.startswith("round")}
    return target // source if agrees.get(axis.coordinates, False) else 0


def _torch_agrees(x: Tensor, axes: tuple[Axis, ...], kernel: Kernel) -> bool:
    """Whether torch's interpolation is the same; it takes its scale from the sizes and resizes spatial axes only."""
    if (kernel.mode, x.dim()) not in _TORCH or kernel.is_antialiased or kernel.excludes_outside:
        return False
    if kernel.mode == "cubic" and kernel.coefficient != _TORCH_COEFFICIENT:
        return False
    # torch knows half pixels and aligned corners.
    if axes[0].coordinates in ("asymmetric", "tf_crop_and_resize"):
        return False
    # An output of one pixel looks at pixel 0 in this mode, but at the middle in torch itself.
    if axes[0].coordinates == "pytorch_half_pixel" and any(axis.target(x.shape[axis.index]) == 1 for axis in axes):
        return False
    return all(axis.index > 1 and axis.is_exact(x.shape[axis.index]) for axis in axes)


def _by_torch(x: Tensor, axes: tuple[Axis, ...], kernel: Kernel) -> Tensor:
    sizes = list(x.shape)
    for axis in axes:
        sizes[axis.index] = axis.target(x.shape[axis.index])
    corners = axes[0].coordinates == "align_corners"
    return F.interpolate(x, sizes[2:], mode=_TORCH[kernel.mode, x.dim()], align_corners=corners)
