"""A model in a newer opset: bfloat16 convolutions are in ONNX from opset 22 on."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from trunkline.errors import WorkFailed

IR_VERSIONS = {22: 10}
"""The oldest version of the file format that has an opset."""


def at_opset(model: ir.Model, opset: int) -> ir.Model:
    """Return a model in a newer opset, by ONNX's own converter; nodes keep names and metadata.

    Raises:
        WorkFailed: The converter refuses it.
    """
    before = ir.to_proto(model)
    try:
        # It drops what nodes say of themselves.
        after = onnx.version_converter.convert_version(before, opset)
    except (RuntimeError, ValueError) as error:
        text = f"ONNX's converter cannot bring the model to opset {opset}: {error}"
        raise WorkFailed(text, advice="take float16, which needs no newer opset") from error
    said = {node.name: node.metadata_props for node in before.graph.node}
    for node in after.graph.node:
        node.metadata_props.extend(said.get(node.name, []))
    del after.metadata_props[:]
    after.metadata_props.extend(before.metadata_props)
    after.ir_version = IR_VERSIONS[opset]
    after.producer_name, after.producer_version = before.producer_name, before.producer_version
    return ir.from_proto(after)
