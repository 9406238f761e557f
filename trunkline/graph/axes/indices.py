"""What axes count behind operators that pick numbers by their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.graph.axes.axis import (
    CHANNEL,
    COLUMN,
    ROW,
    UNKNOWN,
    Axes,
    Axis,
    Sizes,
    is_along,
    is_channels,
    of,
    section,
)
from trunkline.graph.axes.rules import Read, Reads, data_of, unknown
from trunkline.graph.graph import attribute
from trunkline.graph.passes.editor import static

_Places = np.ndarray[Any, Any]


def gathered(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Gather: the axes of the places stand where the axis was that they pick from."""
    data, places = data_of(reads), static(node, 1)
    if places is None:
        return unknown(node, reads, outputs)
    axis = attribute(node, "axis", 0) % len(data.axes)
    picked = _picked([axis], data, places[..., None])
    return [(*data.axes[:axis], *picked, *data.axes[axis + 1 :])]


def gathered_together(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """GatherND: the last axis of the places holds one number for each of several axes."""
    data, places = data_of(reads), static(node, 1)
    if places is None:
        return unknown(node, reads, outputs)
    first = attribute(node, "batch_dims", 0)
    count = places.shape[-1]
    inner = places[(0,) * first]
    picked = _picked(list(range(first, first + count)), data, inner)
    return [(*data.axes[:first], *picked, *data.axes[first + count :])]


def _picked(axes: list[int], data: Read, places: _Places) -> list[Axis]:
    """Return what the axes of ``places`` count, each of whose last ones holds a number for each of ``axes``.

    One of those that walk along the same axis of ``data`` keeps its meaning: windows of an unfolded or adaptively
    pooled map stand side by side along it. The others count places within a window.
    """
    sizes = places.shape[:-1]
    found = [of(CHANNEL, size) for size in sizes]
    lines = [_line(places, axis) % [data.sizes[a] for a in axes] for axis in range(len(sizes))]
    reach = np.array([np.ptp(line, axis=0) for line in lines]).reshape(len(lines), len(axes))
    for column, axis in enumerate(axes):
        stays = [bool((np.diff(line[:, column]) == 0).any()) for line in lines]
        kept = _walker(reach[:, column], stays, sizes, data.sizes[axis])
        if kept is not None:
            is_straight = np.count_nonzero(reach[kept]) == 1
            line = lines[kept][:, column]
            found[kept] = _along(data.axes[axis], line, data.sizes[axis]) if is_straight else of(UNKNOWN, len(line))
    return found


def _walker(reach: _Places, stays: Sequence[bool], sizes: Sequence[int], size: int) -> int | None:
    """Return which axis steps from window to window, given how far each reaches along an axis of ``size``.

    Windows go over more than half of the axis. If places within a window do too, windows are farther apart; or there
    are more windows than places, and one ``stays`` where the one before was.
    """
    steps = [int(far) / max(1, count - 1) for far, count in zip(reach, sizes, strict=True)]
    wide = [axis for axis, count in enumerate(sizes) if reach[axis] and 2 * count * steps[axis] > size]
    walking = wide or [axis for axis in range(len(sizes)) if reach[axis]]
    return max(walking, key=lambda axis: (stays[axis], steps[axis], reach[axis]), default=None)


def _line(places: _Places, axis: int) -> _Places:
    """Return the places along one axis, at the start of all others."""
    start: list[Any] = [0] * (places.ndim - 1)
    start[axis] = slice(None)
    return np.asarray(places[tuple(start)])


def _along(axis: Axis, places: _Places, size: int) -> Axis:
    if (np.diff(places) == 1).all():
        return section(axis, int(places[0]), int(places[-1]) + 1)
    for kind in (ROW, COLUMN):
        if is_along(axis, kind) and _goes_on(places, size):
            return of(kind, len(places))
    return of(CHANNEL if is_channels(axis) else UNKNOWN, len(places))


def _goes_on(places: _Places, size: int) -> bool:
    """Whether places never step back, except once from the end to the start, as in a rolled map."""
    steps = np.diff(places)
    return bool((steps >= 0).all() or (len(places) == size and (steps % size == 1).all()))


def picked_one_by_one(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """GatherElements: where each number comes from along one axis is not followed; the other axes stay."""
    data, (sizes,) = data_of(reads), outputs
    place = attribute(node, "axis", 0) % len(sizes)
    return [
        tuple(
            axis if index != place and size == data.sizes[index] else of(UNKNOWN, size)
            for index, (axis, size) in enumerate(zip(data.axes, sizes, strict=True))
        )
    ]


def scattered(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """ScatterElements and ScatterND: numbers are written into the first input, whose axes stay."""
    return [data_of(reads).axes]
