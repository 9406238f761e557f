"""What to do about a feature map that is too small for a layer: nearly always, to give the network a larger image.

Files whose size is set when they run hold a placeholder, often 1 x 1. Another kernel, stride or kind of pooling
would be another network, so none is advised.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import shape_of
from trunkline.ingest.prototxt.layers.layer import Layer
from trunkline.ingest.prototxt.layers.site import LayerFaultError

_FORGET_SIZE = frozenset({"Gemm", "GlobalAveragePool", "GlobalMaxPool", "MatMul", "ReduceMean", "ReduceSum"})
"""Operators whose result has one size for images of any size."""


def too_small_error(layer: Layer, message: str) -> LayerFaultError:
    """Return the error for a layer whose first input is too small, with the advice that helps."""
    image = _image_of(layer.inputs[0])
    if image is None:
        return layer.layer_error(message, advice="a layer before it makes its input this size, whatever the image")
    size = " x ".join(map(str, shape_of(image)[2:]))
    whose = "the size given" if layer.site.size_was_given else "the file's size"
    return layer.layer_error(message, advice=f"{whose} {size} is too small: give a larger one with --input-size H,W")


def _image_of(value: ir.Value) -> ir.Value | None:
    """Return the image whose size decides that of ``value``; ``None`` where a layer between them forgets it."""
    producer = value.producer()
    while producer is not None:
        if producer.op_type in _FORGET_SIZE or producer.inputs[0] is None:
            return None
        value = producer.inputs[0]
        producer = value.producer()
    return value
