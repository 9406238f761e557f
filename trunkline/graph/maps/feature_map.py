"""What a feature map is: a value that pictures the image, whose axes are known to be batch, channels, rows and columns.

Axes are known by following them from the image (:mod:`trunkline.graph.axes`). A map may have them in another order, or
its positions on one axis, as transformers do, behind a class token perhaps; then a :class:`Turn` describes how it
becomes ``[N, C, H, W]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.axes.axis import (
    BATCH,
    COLUMN,
    JOINED,
    ROW,
    Axes,
    Axis,
    AxisPart,
    Sizes,
    as_positions,
    is_along,
    is_channels,
    is_only,
)
from trunkline.graph.axes.follow import axes_of, sizes_of
from trunkline.graph.graph import Graph, shape_of


@dataclass(frozen=True, slots=True)
class Rearrangement:
    """How a value becomes ``[N, C, H, W]``: part of an axis is taken, axes are put in order, positions are laid out.

    Attributes:
        order: For each axis of the result, batch first, the axis of the value that it is.
        part: An axis of the value, where its positions start, and how many places of it are taken; ``None`` for all.
        grid: The sizes that positions on one axis, the last of ``order``, are laid out in; ``None`` where they have
            two axes already.
        columns_first: Whether that grid is column by column.
    """

    order: tuple[int, ...]
    part: tuple[int, int, int] | None = None
    grid: tuple[int, int] | None = None
    columns_first: bool = False


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A value that is a map, or can be turned into one.

    Attributes:
        value: The value in the Graph.
        channels: The number of channels, C.
        rows: The number of rows, H.
        columns: The number of columns, W.
        stride: How many image pixels lie between two positions, as a power of two; ``None`` where rows and columns
            disagree.
        turn: How it becomes ``[N, C, H, W]``; ``None`` where it is that already.
    """

    value: ir.Value
    channels: int
    rows: int
    columns: int
    stride: int | None
    turn: Rearrangement | None = None

    @property
    def size(self) -> int:
        """H·W."""
        return self.rows * self.columns

    @property
    def shape(self) -> tuple[int | None, int, int, int]:
        """``[N, C, H, W]``, the batch axis ``None``."""
        return (None, self.channels, self.rows, self.columns)

    @property
    def is_picture(self) -> bool:
        """Whether it is more than a line of what is a picture in the image."""
        return self.stride is not None or min(self.rows, self.columns) > 1


class Maps:
    """All feature maps of a Graph, by value.

    Attributes:
        graph: The Graph whose values they are.
        axes: What the axes of every computed value count.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.axes = axes_of(graph)
        image = shape_of(graph.input)
        self._image = (int(image[2] or 1), int(image[3] or 1))
        self._found = {found.value: found for found in self._find()}

    def __contains__(self, value: object) -> bool:
        return value in self._found

    def __getitem__(self, value: ir.Value) -> FeatureMap:
        return self._found[value]

    def get(self, value: ir.Value) -> FeatureMap | None:
        """Return the map that ``value`` is, if it is one."""
        return self._found.get(value)

    def _find(self) -> Iterator[FeatureMap]:
        for node in self.graph.nodes:
            for value in node.outputs:
                found = self._map_of(value)
                if found is None or found.size == 1:  # one position: a pooled vector, not a map
                    continue
                # A line of positions is a means to something else, such as a gate, unless the network gives it out.
                if found.is_picture or value.is_graph_output():
                    yield found

    def _map_of(self, value: ir.Value) -> FeatureMap | None:
        axes, sizes = self.axes[value], sizes_of(value)
        batch = [place for place, axis in enumerate(axes) if axis and axis[0].kind == BATCH]
        if len(batch) != 1:
            return None
        if len(axes) == 4:
            return self._with_two_axes(value, batch[0], axes, sizes)
        if len(axes) == 3:
            return self._with_positions(value, batch[0], axes, sizes)
        return None

    def _with_two_axes(self, value: ir.Value, batch: int, axes: Axes, sizes: Sizes) -> FeatureMap | None:
        rows = [place for place, axis in enumerate(axes) if is_along(axis, ROW)]
        columns = [place for place, axis in enumerate(axes) if is_along(axis, COLUMN)]
        if len(rows) != 1 or len(columns) != 1:
            return None
        (channel,) = {0, 1, 2, 3} - {batch, *rows, *columns}
        if not _may_be_channels(axes[channel]):
            return None
        order = (batch, channel, *rows, *columns)
        turn = None if order == (0, 1, 2, 3) else Rearrangement(order)
        return self._made(value, sizes[channel], sizes[rows[0]], sizes[columns[0]], turn)

    def _with_positions(self, value: ir.Value, batch: int, axes: Axes, sizes: Sizes) -> FeatureMap | None:
        places = [(place, found) for place, axis in enumerate(axes) if (found := _positions_in(axis)) is not None]
        if len(places) != 1:
            return None
        place, (start, axis) = places[0]
        (channel,) = {0, 1, 2} - {batch, place}
        if not _may_be_channels(axes[channel]):
            return None
        first, second = axis
        count = first.size * second.size
        part = None if count == sizes[place] else (place, start, count)
        columns_first = first.kind == COLUMN
        turn = Rearrangement((batch, channel, place), part, (first.size, second.size), columns_first)
        rows, columns = (second.size, first.size) if columns_first else (first.size, second.size)
        return self._made(value, sizes[channel], rows, columns, turn)

    def _made(self, value: ir.Value, channels: int, rows: int, columns: int, turn: Rearrangement | None) -> FeatureMap:
        return FeatureMap(value, channels, rows, columns, _stride(self._image, (rows, columns)), turn)


def _may_be_channels(axis: Axis) -> bool:
    """Whether heads may read an axis as channels: it may be of joined pieces, but nothing unknown."""
    return is_channels(axis) or is_only(axis, JOINED)


def _positions_in(axis: Axis) -> tuple[int, tuple[AxisPart, AxisPart]] | None:
    """Return where on ``axis`` the only positions of a map start, and their rows and columns."""
    whole = as_positions(axis)
    if whole is not None:
        return 0, whole
    if len(axis) != 1 or axis[0].kind != JOINED:
        return None
    found = []
    start = 0
    for size, piece in axis[0].joined:
        inside = as_positions(piece)
        if inside is not None:
            found.append((start, inside))
        start += size
    return found[0] if len(found) == 1 else None


def _stride(image: tuple[int, int], own: tuple[int, int]) -> int | None:
    """Return how much coarser than the image a map is, rounded to a power of two; ``None`` where its sides disagree."""
    rows, columns = (math.log2(whole / part) for whole, part in zip(image, own, strict=True))
    # Unpadded windows and sizes that do not divide move the two apart a little; a stride along one side, by 1.
    if abs(rows - columns) >= 0.75:
        return None
    return int(2 ** max(0, round((rows + columns) / 2)))
