"""Functions of one number, and Softmax."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.ingest.fillers import Filler
from trunkline.ingest.prototxt.layers.initial import filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translate, Translator


def relu(layer: Layer) -> ir.Value:
    """ReLU → Relu, or LeakyRelu with ``negative_slope``."""
    fields = layer.fields.block("relu_param")
    fields.ignore("engine", "inplace")
    slope = fields.number("negative_slope", 0.0)
    if slope:
        return layer.node("LeakyRelu", layer.inputs, {"alpha": slope})
    return layer.node("Relu", layer.inputs)


def relu6(layer: Layer) -> ir.Value:
    """ReLU6 → Clip from 0 to 6."""
    for name in ("relu_param", "relu6_param"):
        layer.fields.block(name).ignore("engine", "inplace")
    bounds = [layer.constant("min", np.array(0, np.float32)), layer.constant("max", np.array(6, np.float32))]
    return layer.node("Clip", [layer.inputs[0], *bounds])


def prelu(layer: Layer) -> ir.Value:
    """PReLU → PRelu; slope ``<layer>.weight`` of ``[C, 1, 1]``, or one number with ``channel_shared``."""
    fields = layer.fields.block("prelu_param")
    start = filler(fields, "filler", Filler("constant", 0.25))
    shape = [1] * max(1, len(layer.shape()))
    if not fields.flag("channel_shared", False):
        shape[0] = (layer.shape() or (1,))[0]
    return layer.node("PRelu", [layer.inputs[0], layer.weight("weight", shape, start, blob=0)])


def elu(layer: Layer) -> ir.Value:
    """ELU → Elu."""
    fields = layer.fields.block("elu_param")
    fields.ignore("inplace")
    return layer.node("Elu", layer.inputs, {"alpha": fields.number("alpha", 1.0)})


def softmax(layer: Layer) -> ir.Value:
    """Softmax → Softmax along one axis."""
    fields = layer.fields.block("softmax_param")
    fields.ignore("engine")
    return layer.node("Softmax", layer.inputs, {"axis": layer.axis(fields)})


def dropout(layer: Layer) -> ir.Value:
    """Dropout → Dropout; the identity at inference, kept because it must train."""
    fields = layer.fields.block("dropout_param")
    fields.ignore("inplace")
    ratio = fields.number("dropout_ratio", 0.5)
    if not 0 <= ratio < 1:
        raise layer.fault(f"{layer.text} drops {ratio:g} of its input", "dropout_ratio", "0 ≤ ratio < 1", fields)
    if not fields.flag("scale_train", True):
        raise layer.fault(f"{layer.text} scales at inference, not in training", "scale_train", "set it to true", fields)
    return layer.node("Dropout", [layer.inputs[0], layer.constant("ratio", np.array(ratio, np.float32))])


def _plain(op: str, param: str) -> Translate:
    """Return the translator of a function that has no settings but its engine."""

    def translate(layer: Layer) -> ir.Value:
        layer.fields.block(param).ignore("engine", "inplace")
        return layer.node(op, layer.inputs)

    return translate


LAYERS = {
    "ReLU": Translator(relu),
    "ReLU6": Translator(relu6),
    "PReLU": Translator(prelu),
    "ELU": Translator(elu),
    "Sigmoid": Translator(_plain("Sigmoid", "sigmoid_param")),
    "TanH": Translator(_plain("Tanh", "tanh_param")),
    "AbsVal": Translator(_plain("Abs", "absval_param")),
    "Softmax": Translator(softmax),
    "Dropout": Translator(dropout),
}
