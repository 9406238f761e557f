"""Reduction and Tile: fewer numbers along an axis, or more."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.formula import FormulaStep, chain, reduction
from trunkline.ingest.prototxt.layers.layer import Layer, Translator

_UNSET = "0"
_OPERATIONS = (_UNSET, "SUM", "ASUM", "SUMSQ", "MEAN")
"""In the order of Caffe's enum, which counts from 1, so that number 0 is none of them."""


def reduce(layer: Layer) -> ir.Value:
    """Reduction: sum, sum of magnitudes, sum of squares or mean from ``axis`` on → ReduceSum or ReduceMean."""
    fields = layer.fields.block("reduction_param")
    operation = fields.choice("operation", _OPERATIONS, "SUM")
    if operation == _UNSET:
        raise layer.layer_error(f"{layer.text} has no operation 0", "operation", "SUM is 1", fields)
    # Caffe's default axis 0 reduces the batch too, which Layer.axis refuses.
    axis, factor = layer.axis(fields, default=0), fields.number("coeff", 1.0)
    axes = range(axis, len(layer.shape()) + 1)
    value = layer.inputs[0]
    before = {"ASUM": [FormulaStep("Abs")], "SUMSQ": [FormulaStep("Mul", value)]}.get(operation, [])
    total = reduction(layer, "ReduceMean" if operation == "MEAN" else "ReduceSum", axes, keepdims=False)
    after = [] if factor == 1 else [FormulaStep("Mul", layer.number("coeff", factor))]
    return chain(layer, value, [*before, total, *after])


def tile(layer: Layer) -> ir.Value:
    """Tile → Tile: the input, repeated ``tiles`` times along one axis."""
    fields = layer.fields.block("tile_param")
    if not fields.has("tiles"):
        raise layer.missing_field_error(fields, "tiles", "add how often the input is repeated")
    axis, count = layer.axis(fields), fields.integer("tiles", 1, minimum=1)
    if count * math.prod(layer.shape()) > layer.site.limits.tensor_elements:
        raise layer.layer_error(
            f"{layer.text} repeats {layer.written()} {count:,} times, too much", "tiles", within=fields
        )
    if count == 1:
        return layer.inputs[0]
    repeats = np.ones(len(layer.shape()) + 1, dtype=np.int64)
    repeats[axis] = count
    return layer.node("Tile", [layer.inputs[0], layer.constant("repeats", repeats)])


LAYERS = {"Reduction": Translator(reduce), "Tile": Translator(tile)}
