"""Decompose an operator into several of opset 18: steps come before the node, and the node itself becomes the last.

So the node keeps its name and its outputs, which the file's other nodes and the user know.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from trunkline.graph.graph import Attribute, name_of, shape_of
from trunkline.graph.node_shapes import infer_node
from trunkline.graph.passes.editor import Editor, put
from trunkline.ingest.onnx_file.passes.explicit_attributes import make_explicit
from trunkline.ingest.onnx_file.passes.explicit_inputs import complete_inputs


def step(node: ir.Node, editor: Editor, op: str, inputs: Sequence[ir.Value], **attributes: Attribute) -> ir.Value:
    """Compute ``op`` before ``node`` and return its output, of known shape."""
    made = editor.before(node, op, inputs, attributes)
    # The walk goes forward, and has passed the place where this node now is.
    complete_inputs(made, editor)
    make_explicit(made)
    infer_node(made)
    return made.outputs[0]


def become(node: ir.Node, op: str, inputs: Sequence[ir.Value], **attributes: Attribute) -> None:
    """Make ``node`` an ``op``, under its own name."""
    node.op_type = op
    node.attributes.clear()
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)
    for name, content in attributes.items():
        put(node, name, content)


def store_number(node: ir.Node, editor: Editor, name: str, content: npt.ArrayLike) -> ir.Value:
    """Store part of a formula, in the type ``node`` computes in."""
    dtype = data_of(node).dtype or ir.DataType.FLOAT
    return editor.constant(f"{name_of(node)}.{name}", np.asarray(content).astype(dtype.numpy()))


def store_ints(node: ir.Node, editor: Editor, name: str, content: Sequence[int]) -> ir.Value:
    """Store axes or sizes."""
    return editor.constant(f"{name_of(node)}.{name}", content, np.int64)


def data_of(node: ir.Node) -> ir.Value:
    """Return the first input of ``node``, which is never absent."""
    data = node.inputs[0]
    assert data is not None
    return data


def sizes_of(node: ir.Node) -> list[int]:
    """Return the shape of the first input of ``node``, in numbers."""
    return [size or 1 for size in shape_of(data_of(node))]
