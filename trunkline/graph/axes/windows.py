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
    AxisPart,
    Sizes,
    is_channels,
    is_only,
    of,
)
from trunkline.graph.axes.pieces import (
    scaled,
)
from trunkline.graph.axes.rules import InputAxes, Reads, data_of
from trunkline.graph.graph import attribute

WINDOWS = frozenset({"AveragePool", "Conv", "ConvTranspose", "LpPool", "MaxPool"})


def convolved(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Conv and ConvTranspose: new channels; a window over each axis behind them."""
    data, (sizes,) = data_of(reads), outputs
    # Depthwise, every channel is made of itself alone: the axis counts what it counted.
    is_depthwise = attribute(node, "group", 1) == data.sizes[1] == sizes[1]
    channels = data.axes[1] if is_depthwise else learned_from(data.axes[1], sizes[1])
    return [(data.axes[0], channels, *_behind_windows(node, reads, sizes))]


def learned_from(axis: Axis, size: int) -> Axis:
    """Return what a new axis counts whose every place is a weighted sum over ``axis``.

    A sum over channels is a channel again. In a sum over positions, no new place is nearer to one than to another.
    """
    is_of_channels = is_channels(axis) and not any(part.kind == LEARNED for part in axis)
    return of(CHANNEL if is_of_channels else LEARNED, size)


def pooled(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Pooling windows: channels stay. The second output of a MaxPool holds the places of the largest."""
    data = data_of(reads)
    within = _pooled_within_parts(node, data)
    if within is not None:
        return [within for _ in outputs]
    return [(*data.axes[:2], *_behind_windows(node, reads, sizes)) for sizes in outputs]


def _pooled_within_parts(node: ir.Node, data: InputAxes) -> Axes | None:
    """Return the axes of an image that lies in parts, each of which is pooled by itself, as in Hiera.

    Where windows lie side by side and fill each part, the whole image is pooled; ``None`` where that is not so.
    """
    kernels = attribute(node, "kernel_shape")
    if attribute(node, "strides", []) != kernels or any(attribute(node, "pads", [])):
        return None
    axes: Axes | None = data.axes
    for axis, kernel, size in zip(data.axes[2:], kernels, data.sizes[2:], strict=True):
        if not _is_part_of_image(axis, size) or size % kernel:
            return None
        axes = None if axes is None else _coarser(axes, axis[0], kernel)
    return axes


def _is_part_of_image(axis: Axis, size: int) -> bool:
    """Whether ``axis`` is a run of consecutive rows or columns, shorter than the image's."""
    if len(axis) != 1 or axis[0].kind not in (ROW, COLUMN):
        return False
    return axis[0].step == 1 and size < axis[0].extent


def _coarser(axes: Axes, pooled_part: AxisPart, factor: int) -> Axes | None:
    """Return ``axes`` with every part of the same rows, or columns, counted in steps of ``factor``."""
    found: list[Axis] = []
    for axis in axes:
        parts = []
        for part in axis:
            if (part.kind, part.extent) != (pooled_part.kind, pooled_part.extent):
                parts.append(part)
                continue
            extent = part.extent // factor
            if part.step == 1:  # the rows within a part, which are pooled
                parts.append(part._replace(size=part.size // factor, step=1, extent=extent))
            elif part.step % factor == 0:  # the parts, which lie closer together now
                parts.append(part._replace(step=part.step // factor, extent=extent))
            else:
                return None
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
    """Return what an axis counts behind a window of ``kernel`` places along it."""
    # A window of one place keeps any axis. A wider one keeps rows, but would reach across joined pieces.
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
    results: list[Axes] = []
    for sizes in outputs:
        steps = zip(data.axes, data.sizes, sizes, strict=True)
        # An axis that is not resized keeps its parts, which scaling would lose.
        results.append(tuple(axis if before == after else scaled(axis, after) for axis, before, after in steps))
    return results


def pixels_to_channels(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """SpaceToDepth and DepthToSpace: pixels of a block become channels, or come of them."""
    data, (sizes,) = data_of(reads), outputs
    channels = of(CHANNEL if is_channels(data.axes[1]) else UNKNOWN, sizes[1])
    positions = [scaled(axis, size) for axis, size in zip(data.axes[2:], sizes[2:], strict=True)]
    return [(data.axes[0], channels, *positions)]


def sampled(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """GridSample: the rows and columns are the grid's."""
    data, grid = data_of(reads), reads[1]
    assert grid is not None
    axes = list(data.axes[:2])
    for axis, size in zip(grid.axes[1:-1], grid.sizes[1:-1], strict=True):
        # A grid that is stored may turn or mirror the image: nothing is known of where its numbers point.
        axes.append(of(UNKNOWN, size) if is_only(axis, SAME) else axis)
    return [tuple(axes)]
