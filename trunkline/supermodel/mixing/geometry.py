"""Read an operator's geometry from its node."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.computed_weights import depends_on_image
from trunkline.graph.graph import attribute, shape_of
from trunkline.supermodel.mixing.linear_operator import Geometry


def geometry_of(node: ir.Node) -> Geometry | None:
    """Return the geometry of a unit's operator, or ``None`` where weights cannot be mixed for it."""
    if node.op_type in ("Conv", "ConvTranspose"):
        return _convolution(node)
    weight = node.inputs[1]
    if weight is None or depends_on_image(weight):
        return None
    if node.op_type == "Gemm":
        plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1.0
        transposed = bool(attribute(node, "transB", 0))
        return Geometry("linear", transposed_weight=transposed) if plain and not attribute(node, "transA", 0) else None
    if node.op_type == "MatMul" and len(shape_of(weight)) == 2:
        return Geometry("linear", transposed_weight=False)
    return None


def _convolution(node: ir.Node) -> Geometry | None:
    weight = node.inputs[1]
    assert weight is not None
    axes = len(shape_of(weight)) - 2
    geometry = Geometry(
        kind="conv" if node.op_type == "Conv" else "transposed",
        stride=tuple(attribute(node, "strides", [1] * axes)),
        pads=tuple(attribute(node, "pads", [0] * 2 * axes)),
        dilation=tuple(attribute(node, "dilations", [1] * axes)),
        groups=int(attribute(node, "group", 1)),
        output_padding=tuple(attribute(node, "output_padding", [0] * axes)),
    )
    return geometry if geometry.symmetric or geometry.kind == "conv" else None
