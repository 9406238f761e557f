"""Pad of the Synopsys fork: a border of one number around any axis.

Source: synopsys-caffe, ``pad_layer.cpp``: ``paddings`` has two numbers an axis, before and after it, from the batch on.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.layer import Layer, Translator


def pad(layer: Layer) -> ir.Value:
    """Pad → Pad."""
    fields = layer.fields.block("pad_param")
    paddings = fields.integers("paddings")
    rank = len(layer.shape()) + 1
    if not paddings:
        raise layer.missing_field_error(fields, "paddings", "add two numbers for each axis, the batch included")
    if len(paddings) != 2 * rank:
        message = f"{layer.text} has {len(paddings)} paddings for {rank} axes"
        raise layer.layer_error(message, "paddings", "give two numbers for each axis, the batch included", fields)
    if any(paddings[:2]):
        raise layer.layer_error(f"{layer.text} pads the batch axis, which stays free", "paddings", within=fields)
    # The file goes axis by axis, before and after; ONNX has all that is before, then all that is after.
    pads = layer.constant("pads", np.array([*paddings[::2], *paddings[1::2]], np.int64))
    filled_with = fields.number("constant_values", 0.0)
    border = [layer.number("border", filled_with)] if filled_with else []
    return layer.node("Pad", [layer.inputs[0], pads, *border], {"mode": "constant"})


LAYERS = {"Pad": Translator(pad)}
