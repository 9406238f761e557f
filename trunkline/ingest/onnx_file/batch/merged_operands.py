"""Align an operand without a batch with one whose batch is merged with other axes, or is of the file's own size."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.graph.elementwise import BROADCASTING, UNARY
from trunkline.graph.graph import array_of, name_of, shape_of
from trunkline.ingest.onnx_file.batch.batch_axis import batch_axis
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis
from trunkline.ingest.onnx_file.batch.freeing import Freeing, batch_error
from trunkline.text import quoted

SPREADING = BROADCASTING | {"PRelu"}
"""Operators that work number by number on several operands, of which they repeat axes of size 1."""
ELEMENTWISE = UNARY | SPREADING


def align(node: ir.Node, state: Freeing) -> BatchAxis:
    """Rewrite the operands of an elementwise node that have no batch, and return where its result has it."""
    axis, from_end = common_axis(node, state, list(node.inputs))
    rank = max(state.rank(value) for value in node.inputs if value is not None)
    for index, value in enumerate(node.inputs):
        if value is not None and batch_axis(value) is None:
            stand_beside(node, index, state, axis, from_end)
    return axis.at(rank - from_end)


def common_axis(node: ir.Node, state: Freeing, operands: list[ir.Value | None]) -> tuple[BatchAxis, int]:
    """Return where operands that are repeated towards each other have the batch, and how far that is from the end.

    Raises:
        InvalidModel: They have it in different places, or merged differently.
    """
    found = [(value, state.of(value)) for value in operands if value is not None]
    with_batch = [(value, axis) for value, axis in found if axis is not None]
    # ONNX aligns operands at their last axes, so a place is counted from there.
    ends = {state.rank(value) - axis.axis for value, axis in with_batch}
    merges = {(axis.before, axis.behind) for _, axis in with_batch}
    if len(ends) != 1 or len(merges) != 1:
        raise batch_error(node, "takes values together whose batches are at different places, or merged differently")
    return max((axis for _, axis in with_batch), key=lambda axis: axis.axis), ends.pop()


def stand_beside(node: ir.Node, index: int, state: Freeing, axis: BatchAxis, from_end: int) -> None:
    """Give an input that has no batch the axes of a value that has one; what is repeated for each image is taken once.

    Args:
        node: The node that reads both.
        index: Which of its inputs has no batch.
        state: The state of the walk.
        axis: Where the other value has its batch.
        from_end: How far that is from its last axis, by which operands are aligned.

    Raises:
        InvalidModel: It is not the same for every image.
    """
    value = node.inputs[index]
    assert value is not None
    shape = [size or 1 for size in shape_of(value)]
    place = len(shape) - from_end
    own = axis.at(place)
    if place < 0:  # fewer axes than there are behind the batch: it is repeated for every image as it is
        return
    if shape[place] == 1:
        sizes = own.ones(shape)
        if place <= axis.axis and all(size == 1 for size in shape[:place]):
            return  # leading axes of size 1 are repeated, however many there are
    elif shape[place] == axis.before * state.batch * axis.behind:
        sizes = own.apart(shape, 1)
        value = once(node, value, state, own)
    else:
        raise batch_error(node, f"joins {shape} with values that merge the batch otherwise")
    if sizes != [size or 1 for size in shape_of(value)]:
        value = reshaped(node, value, state, sizes)
    node.replace_input_with(index, value)


def once(node: ir.Node, value: ir.Value, state: Freeing, axis: BatchAxis) -> ir.Value:
    """Return a constant that the file has for each image of its own batch, for one image: with the Graph's axes then.

    Raises:
        InvalidModel: It differs from image to image.
    """
    if state.batch == 1:
        return value
    if value.const_value is None:
        return _repeated_once(node, value, state, axis)
    content = array_of(value)
    each = content.reshape(axis.apart(content.shape, state.batch))
    first = each.take([0], axis=axis.place)
    if not np.array_equal(each, np.broadcast_to(first, each.shape), equal_nan=content.dtype.kind == "f"):
        raise batch_error(
            node, f"reads {quoted(name_of(value))}, which has other numbers for each of {state.batch} images"
        )
    made = state.editor.store(state.editor.take_name(f"{name_of(value)}.once"), ir.Tensor(first))
    made.metadata_props.update(value.metadata_props)
    return made


def _repeated_once(node: ir.Node, value: ir.Value, state: Freeing, axis: BatchAxis) -> ir.Value:
    """Return what an Expand of weights repeats for each image, repeated for one."""
    error = batch_error(node, f"reads {quoted(name_of(value))}, which is computed for each of {state.batch} images")
    expand = value.producer()
    data = None if expand is None or expand.op_type != "Expand" else expand.inputs[0]
    if data is None or axis.extra:
        raise error
    place = axis.axis - len(shape_of(value)) + len(shape_of(data))
    if place >= 0 and shape_of(data)[place] != 1:  # not repeated along the batch: other numbers for each image
        raise error
    sizes = axis.ones([size or 1 for size in shape_of(value)])
    shape = state.editor.constant(f"{name_of(value)}.shape", sizes, np.int64)
    made = state.editor.before(node, "Expand", [data, shape], {})
    made.outputs[0].shape, made.outputs[0].type = ir.Shape(sizes), value.type
    return made.outputs[0]


def reshaped(node: ir.Node, value: ir.Value, state: Freeing, sizes: list[int]) -> ir.Value:
    """Return ``value``, which has no batch, in another shape; what is stored is folded in the end."""
    shape = state.editor.constant(f"{name_of(value)}.shape", sizes, np.int64)
    made = state.editor.before(node, "Reshape", [value, shape], {"allowzero": 0})
    made.outputs[0].shape, made.outputs[0].type = ir.Shape(sizes), value.type
    return made.outputs[0]
