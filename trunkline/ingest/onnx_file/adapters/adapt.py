"""Bring one node from its file's opset to the canonical one.

Operators are revised one by one, so nodes are adapted one by one: by the functions in ``adapters/``, each of
which knows one revision of one kind of operator. A node without an adapter means the same in both opsets, or
was refused by :mod:`trunkline.ingest.onnx_file.proto.scan`.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import OPSET
from trunkline.graph.passes.editor import Editor
from trunkline.ingest.onnx_file import adapters
from trunkline.ingest.onnx_file.adapters.registry import LOWERING, RAISING


def adapt(node: ir.Node, opset: int, editor: Editor) -> None:
    """Rewrite ``node``, read at ``opset``, so that it means the same at the canonical opset.

    The shapes of its inputs must be known, as numbers.

    Raises:
        UnsupportedOp: The canonical opset cannot express it.
    """
    operator = node.op_type  # an adapter may change it, and what it writes is at the canonical opset
    for limit, adapter in RAISING.get(operator, []):
        if opset < limit:
            adapter(node, editor)
    for start, adapter in LOWERING.get(operator, []):
        if opset >= start:
            adapter(node, editor)
    if opset > OPSET:
        adapters.modes.lower_attributes(node, opset)
