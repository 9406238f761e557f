"""InnerProduct: flatten, then one matrix product."""

from __future__ import annotations

import math

import onnx_ir as ir

from trunkline.ingest.prototxt.layers.convolution import num_output
from trunkline.ingest.prototxt.layers.initial import MSRA, ZERO, filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translator


def inner_product(layer: Layer) -> ir.Value:
    """InnerProduct → Flatten + Gemm; weight ``[num_output, K]``, or ``[K, num_output]`` with ``transpose``."""
    fields = layer.fields.block("inner_product_param")
    fields.ignore("engine")
    count, transpose = num_output(layer, fields), fields.flag("transpose", False)
    if layer.axis(fields) != 1:
        raise layer.fault(f"{layer.text} must flatten from axis 1", "axis", within=fields)
    width = math.prod(layer.shape())
    data = layer.inputs[0]
    if len(layer.shape()) > 1:
        data = layer.step("flatten", "Flatten", [data], {"axis": 1})
    size = (width, count) if transpose else (count, width)
    operands = [data, layer.weight("weight", size, filler(fields, "weight_filler", MSRA), blob=0)]
    start = filler(fields, "bias_filler", ZERO)
    if fields.flag("bias_term", True):
        operands.append(layer.weight("bias", (count,), start, blob=1))
    attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": int(not transpose)}
    return layer.node("Gemm", operands, attributes)


LAYERS = {"InnerProduct": Translator(inner_product)}
