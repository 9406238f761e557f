"""Constants that a file makes for each image of the batch: kept for one, and spread to the batch where they must be.

A class token, the start of an unrolled recurrence, zeros like a map: a tensor of the batch's size that does not depend
on the image. Operators that repeat axes of size 1 read it as it is for one image. The others need one for each image,
and a Graph computes no sizes. So a Where chooses between the constant and the same constant, by one number of each
image: exact whatever that number is. Adding zeros made from the image would turn an infinity into NaN.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from trunkline.graph.free_shapes import PROBE_BATCHES
from trunkline.graph.graph import BATCH, name_of, shape_of
from trunkline.graph.passes.editor import set_input, static
from trunkline.ingest.onnx_file.batch.batch_axis import batch_axis
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis
from trunkline.ingest.onnx_file.batch.freeing import Freeing, Sizes
from trunkline.ingest.onnx_file.batch.merged_operands import SPREADING, reshaped, stand_beside
from trunkline.ingest.onnx_file.batch.merged_products import put_before

SIZES_AT: Mapping[str, int] = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}
"""By operator, which input holds the sizes of the constant that it makes."""
REPEATING = SPREADING | {"MatMul"}
"""Operators that repeat what they read for one image."""
SIDE_BY_SIDE: Mapping[str, int] = {"Concat": 10**6, "GatherElements": 2, "GridSample": 2, "ScatterElements": 3}
"""By operator, how many of its first inputs must have as many images as the others."""
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_FIRST = (("starts", 0), ("ends", 1), ("steps", 1))


def make_once(node: ir.Node, state: Freeing, first: Sizes, second: Sizes) -> None:
    """Let ``node``, which makes a constant as large as the batch, make it for one image.

    Where it cannot be seen that all images get the same, its result is noted as one that numbers them.
    """
    value, axis = node.outputs[0], _axis(first, second)
    if axis is None or not _makes_alike(node, state):
        state.numbered.update(node.outputs)
        return
    sizes = axis.apart(first, 1)
    if node.op_type != "ConstantOfShape":
        sizes = _repeat(node, state, axis, sizes)
    _set_sizes(node, state, sizes)
    value.shape = ir.Shape([BATCH if place == axis.place else size for place, size in enumerate(axis.apart(first, 1))])
    state.give(node, value, axis, first, second)
    state.alike.add(value)


def give_each(node: ir.Node, state: Freeing) -> None:
    """Spread to the batch what ``node`` reads for one image, where it needs one for each."""
    reads = state.reads(node)
    alike = [index for index, value in enumerate(node.inputs) if value in state.alike]
    is_beside_image = 0 < len(alike) < len(reads)
    if is_beside_image:
        for index in alike:
            _merge_like_others(node, index, state)
    if is_beside_image and node.op_type not in REPEATING:
        for index in alike:
            if node.op_type != "Gemm" or index != 2:  # of a Gemm's inputs, the third is repeated
                _spread_input(node, index, state)
    if state.second is None:
        _give_stored(node, state)


def _merge_like_others(node: ir.Node, index: int, state: Freeing) -> None:
    """Give a repeated constant the axes of what it is combined with.

    Of a number that is repeated ``12·N`` times, the batch may be before the twelve, behind them, or between.
    """
    value, near = node.inputs[index], next(read for read in state.reads(node) if read not in state.alike)
    assert value is not None
    own, axis = state.of(value), state.of(near)
    assert own is not None and axis is not None
    is_other_order = own != axis and own.axis == axis.axis
    has_as_many = own.before * own.behind == axis.before * axis.behind
    if not is_other_order or not has_as_many or not _repeats(value, own):
        return
    sizes = own.joined(shape_of(value), 1)
    made = reshaped(node, value, state, axis.apart(sizes, 1))
    made.shape = ir.Shape([BATCH if at == axis.place else size for at, size in enumerate(axis.apart(sizes, 1))])
    state.merged[made] = axis
    state.alike.add(made)
    node.replace_input_with(index, made)


def _repeats(value: ir.Value, axis: BatchAxis) -> bool:
    """Whether ``value`` is made by repeating along its merged axis."""
    maker = value.producer()
    if maker is None or maker.op_type not in SIZES_AT:
        return False
    if maker.op_type == "ConstantOfShape":
        return True
    data = maker.inputs[0]
    assert data is not None
    return all(size == 1 for size in shape_of(data)[axis.axis : axis.axis + axis.extra + 1])


def _give_stored(node: ir.Node, state: Freeing) -> None:
    """Take once what the file stores for each image of its own batch, and spread it to the batch where it must be."""
    count = SIDE_BY_SIDE.get(node.op_type, 0)
    reads = state.reads(node)
    # A file of one image has nothing to take once, and what repeats needs nothing spread.
    is_repeated = node.op_type in REPEATING and state.batch != 1
    if not reads or not (count or is_repeated):
        return
    axis = state.of(reads[0])
    assert axis is not None
    from_end = state.rank(reads[0]) - axis.axis
    if node.op_type == "MatMul" and from_end <= 2:
        return  # rows and columns are not repeated
    for index, value in enumerate(node.inputs[: count or None]):
        if value is not None and batch_axis(value) is None:
            stand_beside(node, index, state, axis, from_end)
            if count and from_end <= len(shape_of(value)):
                _spread_input(node, index, state, axis)


def _spread_input(node: ir.Node, index: int, state: Freeing, axis: BatchAxis | None = None) -> None:
    """Let ``node`` read its input ``index``, which is the same for every image, once for each image."""
    value = node.inputs[index]
    assert value is not None
    axis = axis or state.of(value)
    assert axis is not None
    made = _chosen(node, value, state, axis.place)
    if axis.extra:
        state.merged[made] = axis
    node.replace_input_with(index, made)


def _chosen(node: ir.Node, value: ir.Value, state: Freeing, place: int) -> ir.Value:
    """Return ``value`` for each image: a Where between it and itself, with the batch at ``place``."""
    near = next(read for read in state.reads(node) if read not in state.alike)
    sizes = [1] * len(shape_of(value))
    sizes[place] = -1
    sign = _sign(node, near, state, sizes)
    return put_before(node, state, "Where", [sign, value, value])


def _sign(node: ir.Node, near: ir.Value, state: Freeing, sizes: list[int]) -> ir.Value:
    """Return a truth value for each image, no matter which: of its first number in ``near``."""
    key = (near, *sizes)
    if key not in state.signs:  # many tokens of one network may need the same
        place, rank = batch_axis(near), len(shape_of(near))
        axes = [axis for axis in range(rank) if axis != place]
        bounds = [_ints(node, state, name, [number] * len(axes)) for name, number in _FIRST]
        cut = [near, *bounds[:2], _ints(node, state, "axes", axes), bounds[2]]
        sign = put_before(node, state, "Slice", cut) if axes else near
        if sign.dtype != ir.DataType.BOOL:
            sign = put_before(node, state, "Cast", [sign], to=int(ir.DataType.BOOL))
        if [-1 if size is None else size for size in shape_of(sign)] != sizes:
            sign = put_before(node, state, "Reshape", [sign, _ints(node, state, "shape", sizes)], allowzero=0)
        state.signs[key] = sign
    return state.signs[key]


def _repeat(node: ir.Node, state: Freeing, axis: BatchAxis, sizes: list[int]) -> list[int]:
    """Give the data of an Expand or Tile the result's axes, and return how it is repeated along them for one image."""
    data = node.inputs[0]
    assert data is not None
    own = [size or 1 for size in shape_of(data)]
    wide = [1] * (len(sizes) - axis.extra - len(own)) + own
    # A constant's batch has nothing before it, so its merged axis is N and what is behind.
    behind = [wide[axis.axis]] if axis.extra else []
    parted = [*wide[: axis.axis], 1, *behind, *wide[axis.axis + 1 :]]
    if node.op_type == "Tile":
        sizes = [size // part for size, part in zip(sizes, parted, strict=True)]
    if parted != own:
        data = reshaped(node, data, state, parted)
    node.replace_input_with(0, data)
    return sizes


def _makes_alike(node: ir.Node, state: Freeing) -> bool:
    """Whether only the size of what ``node`` makes follows the batch."""
    index = SIZES_AT.get(node.op_type)
    if index is None or state.second is None:
        return False
    others = [value for place, value in enumerate(node.inputs) if place != index and value is not None]
    return static(node, index) is not None and not any(value in state.second.contents for value in others)


def _axis(first: Sizes, second: Sizes) -> BatchAxis | None:
    """Return the one axis that follows the batch."""
    places = [place for place, (size, other) in enumerate(zip(first, second, strict=True)) if size != other]
    if len(places) != 1:
        return None
    (place,) = places
    behind, rest = divmod(first[place], PROBE_BATCHES[0])
    is_multiple = rest == 0 and second[place] == behind * PROBE_BATCHES[1]
    return BatchAxis(place, 1, behind) if is_multiple else None


def _set_sizes(node: ir.Node, state: Freeing, sizes: list[int]) -> None:
    set_input(node, SIZES_AT[node.op_type], _ints(node, state, "shape", sizes))


def _ints(node: ir.Node, state: Freeing, name: str, numbers: list[int]) -> ir.Value:
    return state.editor.constant(f"{name_of(node)}.{name}", numbers, np.int64)
