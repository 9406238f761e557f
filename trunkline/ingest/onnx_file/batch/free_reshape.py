"""Let a Reshape keep the batch as an axis of its own, wherever its file's sizes put it."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from trunkline.graph.free_shapes import PROBE_BATCHES
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import put, set_input, static
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis, places
from trunkline.ingest.onnx_file.batch.freeing import Freeing, Sizes, batch_error
from trunkline.text import shape_text


def unflatten(node: ir.Node, state: Freeing, result: Sizes) -> None:
    """Make a Reshape of a Flatten that does not just leave the first axis, the batch, alone."""
    data = node.inputs[0]
    assert data is not None
    axis, first = state.of(data), attribute(node, "axis", 1)
    if axis is None or (axis == BatchAxis(0) and first % state.rank(data) == 1):
        return
    node.op_type = "Reshape"
    node.attributes.pop("axis", None)
    set_input(node, 1, state.editor.constant(f"{name_of(node)}.shape", result, np.int64))


def free_reshape(node: ir.Node, state: Freeing, result: Sizes, second: Sizes) -> BatchAxis:
    """Rewrite the sizes of a Reshape and return where its result has the batch.

    Args:
        node: The Reshape.
        state: The state of the walk.
        result: The sizes of its result in the file.
        second: The same for the second batch size.
    """
    data, sizes = node.inputs[0], static(node, 1)
    axis = None if data is None else state.of(data)
    if data is None or axis is None or sizes is None:
        raise batch_error(node, "takes its sizes from what is computed from the image")
    shape = shape_of(data)
    if math.prod(result) != math.prod(size or state.batch for size in shape):
        raise batch_error(node, f"from {shape_text(shape)} to {shape_text(result)} changes how many numbers there are")
    ahead = math.prod(size or 1 for size in shape[: axis.place])
    found = [place for place in places(result, state.batch, ahead) if _holds(place, result, second, state)]
    if not found:
        text = f"from {shape_text(shape)} to {_text(result, second)} tears the images of the batch apart, or mixes them"
        raise batch_error(node, text)
    # Where a file of one image leaves a choice, the batch stays by itself, and in front.
    target = min(found, key=lambda place: (place.extra, place.before, place.axis))
    # No size is 0 here, so allowzero changed nothing so far; from now on 0 means "as the input".
    put(node, "allowzero", 0)
    stays = target == axis and not axis.extra
    if stays:
        # The file's own −1 is left, should it have one on another axis.
        free = [int(size) for size in sizes.ravel()]
        free[target.axis] = 0
    else:
        free = target.apart(result, -1)
    if free != sizes.ravel().tolist() or _depends(node, state):
        set_input(node, 1, state.editor.constant(f"{name_of(node)}.shape", free, np.int64))
    if axis.extra or target.extra:
        state.joints.append(node)
    return target


def _holds(place: BatchAxis, result: Sizes, second: Sizes, state: Freeing) -> bool:
    """Whether the batch is there for the second batch size too."""
    if state.second is None:
        return True
    wanted = list(result)
    wanted[place.axis] = place.before * PROBE_BATCHES[1] * place.behind
    return tuple(wanted) == second


def _depends(node: ir.Node, state: Freeing) -> bool:
    sizes = node.inputs[1]
    return state.second is not None and sizes in state.second.contents


def _text(result: Sizes, second: Sizes) -> str:
    """Return a shape as text, with N where its sizes follow the batch."""
    if result == second:
        return shape_text(result)
    return shape_text([size if size == other else None for size, other in zip(result, second, strict=True)])
