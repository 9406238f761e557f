"""Which nodes are layers: they sum products of what comes of the image and of weights that train."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.computed_weights import computes_weight, has_parameters
from trunkline.graph.graph import attribute

MATRIX_OPS = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"})
"""Operators that sum products; one that reads a trainable weight is a layer."""


def is_layer(node: ir.Node) -> bool:
    """Whether a node multiplies what comes of the image by weights that train."""
    return node.op_type in MATRIX_OPS and not computes_weight(node) and has_parameters(node)


def is_pointwise(node: ir.Node) -> bool:
    """Whether a node is a convolution with a 1x1 kernel, of any stride and number of groups."""
    return node.op_type == "Conv" and attribute(node, "kernel_shape") == [1, 1]
