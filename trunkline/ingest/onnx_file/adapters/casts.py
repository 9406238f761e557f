"""CastLike, which names the type of another value, becomes Cast, which names it itself."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.passes.editor import Editor, input_at, put
from trunkline.ingest.onnx_file.adapters.registry import before, unsupported_form

_ANY_OPSET = 1_000


@before(_ANY_OPSET, "CastLike")
def cast_like(node: ir.Node, editor: Editor) -> None:
    """Write CastLike as a Cast."""
    like = input_at(node, 1)
    # Nodes are adapted in order, so the type is known wherever it can be.
    if like is None or like.dtype is None:
        raise unsupported_form(node, "a type that is not known")
    node.op_type = "Cast"
    node.replace_input_with(1, None)
    node.resize_inputs(1)
    put(node, "to", int(like.dtype))
