"""Let what is computed from the image be float32, whatever precision the file was saved in.

A twin trains in float32, or in mixed precision by the trainer's choice, and half precision is chosen at export.
float16 and bfloat16 widen exactly. Arithmetic on sizes keeps its precision: it is gone once the file is read.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import attribute, is_weight, name_of
from trunkline.graph.passes.editor import Editor, put

OTHERS = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
"""The other precisions a file may be saved in."""


def to_single(node: ir.Node, editor: Editor, done: dict[ir.Value, ir.Value]) -> bool:
    """Make float32 what ``node`` stores or casts to, and return whether anything was not.

    Args:
        node: A node that works on pixels, or one that works on weights and stays.
        editor: The editor of the node's graph.
        done: The float32 weights made so far, which readers of one weight share.
    """
    changed = node.op_type == "Cast" and attribute(node, "to") in OTHERS
    if changed:
        put(node, "to", int(ir.DataType.FLOAT))
    for index, value in enumerate(node.inputs):
        if value is not None and is_weight(value) and value.dtype in OTHERS:
            if value not in done:
                done[value] = _widened(value, editor)
            node.replace_input_with(index, done[value])
            changed = True
    return changed


def _widened(value: ir.Value, editor: Editor) -> ir.Value:
    """Store ``value`` as float32, under its name; the old tensor is removed with its last reader."""
    tensor, name = value.const_value, name_of(value)
    assert tensor is not None

    def widen() -> ir.TensorProtocol:
        return ir.Tensor(tensor.numpy().astype(np.float32))

    value.name = editor.take_name(f"{name}.{value.dtype}")
    # Lazy and without a cache: the file's own numbers are the one lasting copy.
    wide = ir.LazyTensor(widen, ir.DataType.FLOAT, ir.Shape(tensor.shape.numpy()), cache=False)
    made = editor.store(name, wide)
    made.metadata_props.update(value.metadata_props)
    return made
