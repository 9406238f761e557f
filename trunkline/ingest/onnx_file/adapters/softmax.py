"""Softmax below opset 13: over everything from ``axis`` on, flattened, instead of over one axis."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.node_shapes import infer_node
from trunkline.graph.passes.editor import Editor, put
from trunkline.ingest.onnx_file.adapters.registry import before


@before(13, "Softmax", "LogSoftmax")
def softmax(node: ir.Node, editor: Editor) -> None:
    """Write the flattened softmax as one over a single axis.

    1. If at most one axis from ``axis`` on is longer than 1, it is the softmax over that axis.
    2. If several are, a Reshape before merges them into one, and a Reshape behind takes them apart.
    """
    data = node.inputs[0]
    assert data is not None
    shape = shape_of(data)
    axis = attribute(node, "axis", 1)
    if not -len(shape) <= axis < max(1, len(shape)):
        raise InvalidModel(f"{node.op_type}: axis {axis} of {len(shape)} axes", place=name_of(node))
    axis %= len(shape)
    long = [index for index in range(axis, len(shape)) if shape[index] != 1]
    if len(long) < 2:  # rule 1
        put(node, "axis", long[0] if long else axis)
        return
    _flatten_around(node, editor, data, long[0], [size or 0 for size in shape])  # rule 2


def _flatten_around(node: ir.Node, editor: Editor, data: ir.Value, axis: int, shape: list[int]) -> None:
    before = [0] * axis
    flat = editor.constant(f"{name_of(node)}.flat_shape", [*before, -1], np.int64)
    full = editor.constant(f"{name_of(node)}.full_shape", [*before, *shape[axis:]], np.int64)
    merged = editor.before(node, "Reshape", [data, flat], {"allowzero": 0})
    infer_node(merged)
    node.replace_input_with(0, merged.outputs[0])
    put(node, "axis", axis)
    old = node.outputs[0]
    apart = editor.after(node, "Reshape", [old, full], {"allowzero": 0})
    result = apart.outputs[0]
    old.replace_all_uses_with(result, replace_graph_outputs=True)
    apart.replace_input_with(0, old)
    # The user knows the result by the softmax's name.
    old.name, result.name = editor.take_name(f"{name_of(node)}.flat"), old.name
