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
)
from trunkline.graph.axes.pieces import (
    section,
)
from trunkline.graph.axes.rules import InputAxes, Reads, data_of, unknown
from trunkline.graph.graph import attribute
from trunkline.graph.passes.editor import static

_Places = np.ndarray[Any, Any]


def gathered(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Gather: the axes of the places come in the place of the axis that they pick from."""
    data, places = data_of(reads), static(node, 1)
    if places is None:  # the file computes where to read, for each image perhaps
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
    inner = places[(0,) * first]  # which axes walk is read off the first image's places
    picked = _picked(list(range(first, first + count)), data, inner)
    return [(*data.axes[:first], *picked, *data.axes[first + count :])]


def _picked(axes: list[int], data: InputAxes, places: _Places) -> list[Axis]:
    """Return what the axes of ``places`` count, whose last axis holds one number for each of the picked ``axes``.

    Several axes of ``places`` may walk along the same axis of ``data``. One of them keeps its meaning: the windows of
    an unfolded or adaptively pooled map lie side by side along it. The others count places within a window.
    """
    sizes = places.shape[:-1]
    found = [of(CHANNEL, size) for size in sizes]
    extents = [data.sizes[axis] for axis in axes]
    lines = [_line(places, axis) % extents for axis in range(len(sizes))]
    reach = np.array([np.ptp(line, axis=0) for line in lines]).reshape(len(lines), len(axes))
    for column, axis in enumerate(axes):
        stays = [bool((np.diff(line[:, column]) == 0).any()) for line in lines]
        kept = _walker(reach[:, column], stays, sizes, data.sizes[axis])
        if kept is None:
            continue
        line = lines[kept][:, column]
        if np.count_nonzero(reach[kept]) == 1:
            found[kept] = _along(data.axes[axis], line, data.sizes[axis])
        else:
            # A diagonal: each step moves along several axes of the data at once.
            found[kept] = of(UNKNOWN, len(line))
    return found


def _walker(reach: _Places, stays: Sequence[bool], sizes: Sequence[int], size: int) -> int | None:
    """Return which axis of the places steps from window to window along an axis of ``size``; ``None`` if none does.

    1. Windows go over more than half of the axis; places within a window mostly do not.
    2. Where both do, the windows are those of which one stays where the one before was: there are more windows than
       places, as where a small map is pooled adaptively to a larger one.
    3. Else the windows are farther apart than the places within one.

    Args:
        reach: By axis of the places, how far it reaches.
        stays: By axis of the places, whether it takes the same place twice in a row.
        sizes: Of the axes of the places.
        size: Of the axis that is walked along.
    """
    moving = [axis for axis in range(len(sizes)) if reach[axis]]
    steps = [int(far) / max(1, count - 1) for far, count in zip(reach, sizes, strict=True)]
    wide = [axis for axis in moving if 2 * sizes[axis] * steps[axis] > size]  # rule 1
    return max(wide or moving, key=lambda axis: (stays[axis], steps[axis], reach[axis]), default=None)  # rules 2 and 3


def _line(places: _Places, axis: int) -> _Places:
    """Return the places along one axis, at the start of all others."""
    start: list[Any] = [0] * (places.ndim - 1)
    start[axis] = slice(None)
    return np.asarray(places[tuple(start)])


def _along(axis: Axis, places: _Places, size: int) -> Axis:
    """Return what an axis counts that picks these ``places`` of another of ``size``."""
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
    axes = list(data.axes)
    for index, size in enumerate(sizes):
        # ONNX allows fewer places than numbers along the other axes too, and reads only so many then.
        if index == place or size != data.sizes[index]:
            axes[index] = of(UNKNOWN, size)
    return [tuple(axes)]


def scattered(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """ScatterElements and ScatterND: numbers are written into the first input, whose axes stay."""
    return [data_of(reads).axes]
