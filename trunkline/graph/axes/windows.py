"""What axes count behind windows, resizing and other operators whose axes are, by ONNX, batch, channels, then space."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.graph.axes.axis import (
    CHANNEL,
    COLUMN,
    LEARNED,
    ROW,
    SAME,
    UNKNOWN,
    Axes,
    Axis,
    Part,
    Sizes,
    is_channels,
    is_only,
    of,
    scaled,
)
from trunkline.graph.axes.rules import Read, Reads, data_of
from trunkline.graph.graph import attribute

WINDOWS = frozenset({"AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"})


def convolved(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Conv and ConvTranspose: new channels; a window over each axis behind them."""
    data, (sizes,) = data_of(reads), outputs
    depthwise = attribute(node, "group", 1) == data.sizes[1] == sizes[1]
    channels = data.axes[1] if depthwise else learned_from(data.axes[1], sizes[1])
    return [(data.axes[0], channels, *_behind_windows(node, reads, sizes))]


def learned_from(axis: Axis, size: int) -> Axis:
    """Return what a new axis counts whose every place is a weighted sum over ``axis``.

    A sum over channels is a channel again. Of positions, no new place is nearer to one than to another.
    """
    is_of_channels = is_channels(axis) and not any(part.kind == LEARNED for part in axis)
    return of(CHANNEL if is_of_channels else LEARNED, size)


def pooled(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Pooling windows: channels stay. A second output holds the places of the largest."""
    data = data_of(reads)
    within = _pooled_within_parts(node, data)
    if within is not None:
        return [within for _ in outputs]
    return [(*data.axes[:2], *_behind_windows(node, reads, sizes)) for sizes in outputs]


def _pooled_within_parts(node: ir.Node, data: Read) -> Axes | None:
    """Return what axes count of an image that lies in parts, each of which is pooled by itself, as in Hiera.

    Where windows lie side by side and fill each part, the whole image is pooled; ``None`` where that is not so.
    """
    kernels = attribute(node, "kernel_shape")
    if attribute(node, "strides", []) != kernels or any(attribute(node, "pads", [])):
        return None
    axes: Axes | None = data.axes
    for axis, kernel, size in zip(data.axes[2:], kernels, data.sizes[2:], strict=True):
        is_part = len(axis) == 1 and axis[0].kind in (ROW, COLUMN) and axis[0].step == 1 and size < axis[0].extent
        if not is_part or size % kernel:
            return None
        axes = None if axes is None else _coarser(axes, axis[0], kernel)
    return axes


def _coarser(axes: Axes, pooled_part: Part, factor: int) -> Axes | None:
    """Return ``axes`` with every part of the same rows, or columns, counted in steps of ``factor``."""
    found: list[Axis] = []
    for axis in axes:
        parts = []
        for part in axis:
            if (part.kind, part.extent) == (pooled_part.kind, pooled_part.extent):
                size, step = (part.size // factor, 1) if part.step == 1 else (part.size, part.step // factor)
                if part.step % factor and part.step > 1:
                    return None
                parts.append(part._replace(size=size, step=step, extent=part.extent // factor))
            else:
                parts.append(part)
        found.append(tuple(parts))
    return tuple(found)


def _behind_windows(node: ir.Node, reads: Reads, sizes: Sizes) -> list[Axis]:
    data = data_of(reads)
    kernels = attribute(node, "kernel_shape", [0] * (len(sizes) - 2))
    return [
        _behind_window(axis, kernel, before, after)
        for axis, kernel, before, after in zip(data.axes[2:], kernels, data.sizes[2:], sizes[2:], strict=True)
    ]


def _behind_window(axis: Axis, kernel: int, before: int, after: int) -> Axis:
    """A window of one place keeps any axis; a wider one would reach across joined pieces."""
    if before == after and (kernel == 1 or is_only(axis, ROW, COLUMN)):
        return axis
    return scaled(axis, after)


def pooled_globally(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """One number for each channel of each image."""
    data = data_of(reads)
    return [(*data.axes[:2], *((),) * (len(data.axes) - 2))]


def resized(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Resize, CenterCropPad, MaxUnpool: each axis keeps its meaning with more or fewer places."""
    data = data_of(reads)
    return [
        tuple(
            axis if before == after else scaled(axis, after)
            for axis, before, after in zip(data.axes, data.sizes, sizes, strict=True)
        )
        for sizes in outputs
    ]


def pixels_to_channels(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """SpaceToDepth and DepthToSpace."""
    data, (sizes,) = data_of(reads), outputs
    channels = of(CHANNEL if is_channels(data.axes[1]) else UNKNOWN, sizes[1])
    return [
        (data.axes[0], channels, *(scaled(axis, size) for axis, size in zip(data.axes[2:], sizes[2:], strict=True)))
    ]


def sampled(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """GridSample: the rows and columns of the grid. A stored grid does not say what they are."""
    data, grid = data_of(reads), reads[1]
    assert grid is not None
    lines = zip(grid.axes[1:-1], grid.sizes[1:-1], strict=True)
    return [(*data.axes[:2], *(of(UNKNOWN, size) if is_only(axis, SAME) else axis for axis, size in lines))]
