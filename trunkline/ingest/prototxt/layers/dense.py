"""InnerProduct: flatten, then one matrix product."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.convolution import num_output
from trunkline.ingest.prototxt.layers.initial import MSRA, ZERO, filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translator


def inner_product(layer: Layer) -> ir.Value:
    """InnerProduct → Flatten + Gemm; weight ``[num_output, K]``, or ``[K, num_output]`` with ``transpose``.

    From an ``axis`` after the first on, one product for each position before it: Reshape + MatMul.
    """
    fields = layer.fields.block("inner_product_param")
    fields.ignore("engine")
    count, transpose = num_output(layer, fields), fields.flag("transpose", False)
    axis = layer.axis(fields)
    width = math.prod(layer.shape()[axis - 1 :])
    size = (width, count) if transpose else (count, width)
    weights = [layer.weight("weight", size, filler(fields, "weight_filler", MSRA), blob=0)]
    start = filler(fields, "bias_filler", ZERO)
    if fields.flag("bias_term", True):
        weights.append(layer.weight("bias", (count,), start, blob=1))
    if axis == 1:
        return _one_product(layer, weights, transpose)
    return _many_products(layer, weights, transpose, axis)


def _one_product(layer: Layer, weights: list[ir.Value], transpose: bool) -> ir.Value:
    data = layer.inputs[0]
    if len(layer.shape()) > 1:
        data = layer.step("flatten", "Flatten", [data], {"axis": 1})
    # Without `transpose` Caffe keeps [num_output, K], the transpose of what the product needs.
    attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": int(not transpose)}
    return layer.node("Gemm", [data, *weights], attributes)


def _many_products(layer: Layer, weights: list[ir.Value], transpose: bool, axis: int) -> ir.Value:
    data, matrix, biases = layer.inputs[0], weights[0], weights[1:]
    if axis < len(layer.shape()):
        sizes = [0, *layer.shape()[: axis - 1], math.prod(layer.shape()[axis - 1 :])]
        target = layer.constant("shape", np.array(sizes, np.int64))
        data = layer.step("flatten", "Reshape", [data, target], {"allowzero": 0})  # so 0 copies the batch
    if not transpose:  # MatMul has no transB
        matrix = layer.step("transpose", "Transpose", [matrix], {"perm": (1, 0)})
    if not biases:
        return layer.node("MatMul", [data, matrix])
    return layer.node("Add", [layer.step("product", "MatMul", [data, matrix]), *biases])


LAYERS = {"InnerProduct": Translator(inner_product)}
