"""How each operator passes on what the axes of its inputs count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import onnx_ir as ir

from trunkline.graph.axes.axis import (
    CHANNEL,
    LEARNED,
    MIXED,
    SAME,
    UNKNOWN,
    Axes,
    Axis,
    Sizes,
    is_known,
    is_only,
    of,
)
from trunkline.graph.axes.meet import (
    meet,
)
from trunkline.graph.axes.pieces import (
    join,
    scaled,
    section,
)
from trunkline.graph.axes.regroup import regroup
from trunkline.graph.graph import attribute
from trunkline.graph.passes.editor import static


class InputAxes(NamedTuple):
    """What a node reads: a value's sizes, and what its axes count."""

    axes: Axes
    sizes: Sizes


Reads = Sequence[InputAxes | None]
Rule = Callable[[ir.Node, Reads, Sequence[Sizes]], Sequence[Axes]]
"""From a node, what it reads (``None`` for an absent input) and its outputs' sizes to what their axes count."""


def as_first(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Every output of the first input's rank has its axes; nothing is known of others."""
    axes = data_of(reads).axes
    others = unknown(node, reads, outputs)
    return [axes if len(other) == len(axes) else other for other in others]


def number_by_number(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Inputs are combined as ONNX broadcasts them: aligned at the last axis, sizes of 1 repeated."""
    (sizes,) = outputs
    result: list[Axis] = [of(SAME, size) for size in sizes]
    for read in reads:
        if read is None:
            continue
        ahead = len(sizes) - len(read.sizes)
        for place, (axis, size) in enumerate(zip(read.axes, read.sizes, strict=True), ahead):
            if size == sizes[place]:  # a size of 1 is repeated, and decides nothing
                result[place] = _combined(node, result[place], axis, size)
    return [tuple(result)]


def _combined(node: ir.Node, a: Axis, b: Axis, size: int) -> Axis:
    """Return what ``a`` and ``b`` count together.

    In scores of attention, an axis of positions is kept whatever is added to it. A bias for each pair of positions
    moves none, but its own axes may be lost: it is brought to its place by index arithmetic, or made as the channels
    of a product with a table.
    """
    met = meet(a, b, size)
    if is_known((met,)) or not _are_scores(node):
        return met
    positions = [axis for axis in (a, b) if is_known((axis,)) and not is_only(axis, CHANNEL, LEARNED, SAME)]
    return positions[0] if len(positions) == 1 else met


def _are_scores(node: ir.Node) -> bool:
    """Whether a softmax along the last axis reads what ``node`` makes, with other biases or a mask perhaps."""
    # A few steps at most, so that following stays linear in the nodes.
    for _ in range(_MOST_BIASES):
        readers = node.outputs[0].consumers()
        if len(readers) != 1 or readers[0].op_type not in _BIASING:
            return False
        (node,) = readers
        if node.op_type == "Softmax":
            rank = len(node.outputs[0].shape or ())
            return rank > 2 and attribute(node, "axis", -1) in (-1, rank - 1)
    return False


_BIASING = frozenset({"Add", "Div", "Mul", "Reshape", "Softmax", "Where"})
_MOST_BIASES = 4


def repeated(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Expand and Tile: an axis of size 1 is repeated; of another, only as many places as there were are known."""
    data, (sizes,) = data_of(reads), outputs
    ahead = len(sizes) - len(data.sizes)
    axes = [of(SAME, size) for size in sizes]
    for place, (axis, size) in enumerate(zip(data.axes, data.sizes, strict=True), ahead):
        if size == sizes[place]:
            axes[place] = axis
        elif size > 1 and node.op_type == "Expand":
            axes[place] = scaled(axis, sizes[place])
        elif size > 1:  # copies of a picture side by side are no picture
            axes[place] = of(UNKNOWN, sizes[place])
    return [tuple(axes)]


def transposed(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Axes move."""
    data = data_of(reads)
    order = attribute(node, "perm", list(range(len(data.axes)))[::-1])  # ONNX's default turns all axes round
    return [tuple(data.axes[axis] for axis in order)]


def reshaped(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Reshape and Flatten: axes are merged and split by the order of numbers in memory."""
    data = data_of(reads)
    return [regroup(data.axes, data.sizes, outputs[0])]


def squeezed(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Axes of size 1 go."""
    data = data_of(reads)
    gone = named_axes(node, 1, len(data.axes))
    if gone is None:  # ONNX: without axes, all of size 1
        gone = {place for place, size in enumerate(data.sizes) if size == 1}
    return [tuple(axis for place, axis in enumerate(data.axes) if place not in gone)]


def unsqueezed(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Axes of size 1 come."""
    new = named_axes(node, 1, len(outputs[0])) or set()
    old = iter(data_of(reads).axes)
    return [tuple(() if place in new else next(old, ()) for place in range(len(outputs[0])))]


def reduced(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Axes that are summed over, or whose largest is taken, count nothing any more."""
    data = data_of(reads)
    if "axis" in node.attributes:  # ArgMax and ArgMin
        gone: set[int] | None = {attribute(node, "axis") % len(data.axes)}
    else:
        gone = named_axes(node, 1, len(data.axes))
    if gone is None:  # ONNX: without axes, over all of them
        gone = set(range(len(data.axes)))
    if attribute(node, "keepdims", 1):
        return [tuple(() if place in gone else axis for place, axis in enumerate(data.axes))]
    return [tuple(axis for place, axis in enumerate(data.axes) if place not in gone)]


def joined(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Concat: one axis is made of pieces, the others meet."""
    parts = [read for read in reads if read is not None]
    place = attribute(node, "axis", 0) % len(outputs[0])
    # Sizes that never agree keep the joined axis out of what the others are combined to.
    others = [InputAxes(read.axes, _with(read.sizes, place, 1)) for read in parts]
    (axes,) = number_by_number(node, others, [_with(outputs[0], place, 0)])
    axis = join([(read.sizes[place], read.axes[place]) for read in parts])
    return [(*axes[:place], axis, *axes[place + 1 :])]


def _with(sizes: Sizes, place: int, size: int) -> Sizes:
    return (*sizes[:place], size, *sizes[place + 1 :])


def sliced(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Slice: a run of places, every other place, or all of them backwards."""
    data = data_of(reads)
    starts, ends, places, steps = (static(node, index) for index in range(1, 5))
    if starts is None or ends is None:
        return unknown(node, reads, outputs)
    count = starts.size
    chosen = range(count) if places is None else places.ravel().tolist()
    walk = [1] * count if steps is None else steps.ravel().tolist()
    axes = list(data.axes)
    for start, named, step in zip(starts.ravel().tolist(), chosen, walk, strict=True):
        place = named % len(axes)
        size, left = data.sizes[place], outputs[0][place]
        from_front = start + size if start < 0 else start
        first = min(max(from_front, 0), size)  # ONNX clamps what lies outside
        axes[place] = _walked(axes[place], first, left, step)
    return [tuple(axes)]


def _walked(axis: Axis, first: int, left: int, step: int) -> Axis:
    """Return what ``left`` places of ``axis`` count that are taken from ``first`` on."""
    if step == 1:
        return section(axis, first, first + left)
    kept = scaled(axis, left)
    # Rows from the bottom up are no picture of the image; channels have no order to lose.
    if step > 0 or is_only(kept, CHANNEL, SAME):
        return kept
    return of(UNKNOWN, left)


def split(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Split: consecutive runs of places."""
    data = data_of(reads)
    place = attribute(node, "axis", 0) % len(data.axes)
    results, start = [], 0
    for sizes in outputs:
        axis = section(data.axes[place], start, start + sizes[place])
        results.append((*data.axes[:place], axis, *data.axes[place + 1 :]))
        start += sizes[place]
    return results


def padded(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Pad: of an axis of positions, it is known where they begin; of others, that they go on."""
    data, (sizes,) = data_of(reads), outputs
    pads = static(node, 1)
    if pads is None or len(pads.ravel()) != 2 * len(sizes):
        return unknown(node, reads, outputs)
    edges = pads.ravel().tolist()
    starts, ends = edges[: len(sizes)], edges[len(sizes) :]
    rows = zip(data.axes, data.sizes, sizes, starts, ends, strict=True)
    return [tuple(_with_edges(axis, before, after, start, end) for axis, before, after, start, end in rows)]


def _with_edges(axis: Axis, before: int, after: int, start: int, end: int) -> Axis:
    """Return what ``axis`` counts with ``start`` places put before it and ``end`` behind it."""
    if before == after:
        return axis
    known = scaled(axis, after)
    if min(start, end) < 0 or is_known((known,)):  # negative pads take places away
        return known
    # All positions on one axis: they keep their place among the new ones, as they do behind a class token.
    pieces = [(start, of(SAME, start)), (before, axis), (end, of(SAME, end))]
    return join([piece for piece in pieces if piece[0]])


def unknown(node: ir.Node, reads: Reads, outputs: Sequence[Sizes]) -> list[Axes]:
    """Nothing is known but the batch."""
    return [tuple(of(UNKNOWN, size) for size in sizes) for sizes in outputs]


def mixed(outputs: Sequence[Sizes]) -> list[Axes]:
    """Axes of different meaning have met: nothing is a picture any more."""
    return [tuple(of(MIXED, size) for size in sizes) for sizes in outputs]


def data_of(reads: Reads) -> InputAxes:
    """Return the first input, which is present in every good node."""
    first = reads[0]
    assert first is not None
    return first


def named_axes(node: ir.Node, index: int, rank: int) -> set[int] | None:
    """Return the axes that a stored input lists; ``None`` where it is absent."""
    axes = static(node, index)
    return None if axes is None else {int(axis) % rank for axis in axes.ravel()}
