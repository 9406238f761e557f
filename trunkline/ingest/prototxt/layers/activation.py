"""Functions of one number without constants of their own to set, and Softmax."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.fillers import Filler
from trunkline.ingest.prototxt.layers.initial import filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translate, Translator
from trunkline.ingest.prototxt.text.fields import Fields


def relu(layer: Layer) -> ir.Value:
    """ReLU → Relu, or LeakyRelu with ``negative_slope``; Clip after it for the bounds of the Synopsys fork.

    There ``relu6`` bounds the result by 6, ``maximum`` by its own value if that is positive, and ``minimum`` from
    below unless it is 0. Source: synopsys-caffe, ``relu_layer.cpp``.
    """
    fields = layer.fields.block("relu_param")
    slope = fields.number("negative_slope", 0.0)
    op, settings = ("LeakyRelu", {"alpha": slope}) if slope else ("Relu", {})
    highest, minimum = _upper_bound(fields), fields.number("minimum", 0.0)
    if highest is None and not minimum:
        return layer.node(op, layer.inputs, settings)
    if highest is not None and minimum > highest:
        message = f"{layer.text} has minimum {minimum:g} and maximum {highest:g}"
        raise layer.layer_error(message, "minimum", "the minimum must not exceed it", fields)
    if highest is not None and not slope and not minimum:
        # Clip from 0 is the ReLU too: one node does both.
        return layer.node("Clip", [layer.inputs[0], layer.number("min", 0), layer.number("max", highest)])
    value = layer.step("relu", op, layer.inputs, settings)
    low = layer.number("min", minimum) if minimum else None
    high = None if highest is None else layer.number("max", highest)
    return layer.node("Clip", [value, *_until_last(low, high)])


def _upper_bound(fields: Fields) -> float | None:
    """Return the smaller of ``relu6`` and ``maximum``, or ``None`` where neither bounds anything."""
    bounds = [6.0] if fields.flag("relu6", False) else []
    maximum = fields.number("maximum", 0.0)
    if maximum > 0:  # 0 is the fork's default, and bounds nothing
        bounds.append(maximum)
    return min(bounds, default=None)


def _until_last(*operands: ir.Value | None) -> list[ir.Value | None]:
    """Return the operands up to the last one that is given."""
    # ONNX leaves out absent inputs at the end of a node; one before another input is an empty place.
    last = max(index for index, operand in enumerate(operands) if operand is not None)
    return list(operands[: last + 1])


def relu6(layer: Layer) -> ir.Value:
    """ReLU6 → Clip from 0 to 6."""
    _no_settings(layer, "relu_param", "relu6_param")
    return layer.node("Clip", [layer.inputs[0], layer.number("min", 0), layer.number("max", 6)])


def prelu(layer: Layer) -> ir.Value:
    """PReLU → PRelu; slope ``<layer>.weight`` of ``[C, 1, 1]``, or one number with ``channel_shared``."""
    fields = layer.fields.block("prelu_param")
    start = filler(fields, "filler", Filler("constant", 0.25))  # Caffe's default, from He et al. 2015
    shape = [1] * max(1, len(layer.shape()))
    if not fields.flag("channel_shared", False):
        shape[0] = (layer.shape() or (1,))[0]
    return layer.node("PRelu", [layer.inputs[0], layer.weight("weight", shape, start, blob=0)])


def elu(layer: Layer) -> ir.Value:
    """ELU → Elu."""
    fields = layer.fields.block("elu_param")
    return layer.node("Elu", layer.inputs, {"alpha": fields.number("alpha", 1.0)})


def swish(layer: Layer) -> ir.Value:
    """Swish: x · sigmoid(beta · x) (Ramachandran et al. 2017, section 4) → Mul, Sigmoid, Mul."""
    fields = layer.fields.block("swish_param")
    beta, value = fields.number("beta", 1.0), layer.inputs[0]
    scaled = value if beta == 1 else layer.step("scale", "Mul", [value, layer.number("beta", beta)])
    return layer.node("Mul", [value, layer.step("gate", "Sigmoid", [scaled])])


def mish(layer: Layer) -> ir.Value:
    """Mish: x · tanh(softplus(x)) (Misra 2019, equation 1) → Softplus, Tanh, Mul."""
    _no_settings(layer, "mish_param")
    value = layer.inputs[0]
    gate = layer.step("gate", "Tanh", [layer.step("softplus", "Softplus", [value])])
    return layer.node("Mul", [value, gate])


def hard_sigmoid(layer: Layer) -> ir.Value:
    """HardSigmoid: alpha · x + beta, clipped to 0 and 1 → HardSigmoid.

    Forks of Caffe have x / 6 + 1 / 2 (Howard et al. 2019, section 5.2) or 0.2 x + 1 / 2 under this one name, so
    the file has to say which.
    """
    fields = layer.fields.block("hardsigmoid_param")
    if not (fields.has("alpha") and fields.has("beta")):
        advice = "add hardsigmoid_param { alpha: … beta: … }: 0.16666667 and 0.5 in MobileNetV3, 0.2 and 0.5 in others"
        message = f"{layer.text} has no alpha and beta, and forks of Caffe disagree on them"
        raise layer.layer_error(message, "alpha", advice, fields)
    return layer.node(
        "HardSigmoid", layer.inputs, {"alpha": fields.number("alpha", 0.0), "beta": fields.number("beta", 0.0)}
    )


def softmax(layer: Layer) -> ir.Value:
    """Softmax → Softmax along one axis."""
    fields = layer.fields.block("softmax_param")
    return layer.node("Softmax", layer.inputs, {"axis": layer.axis(fields)})


def dropout(layer: Layer) -> ir.Value:
    """Dropout → Dropout; the identity at inference, kept because it must train.

    With ``scale_train: false`` (a fork) nothing is scaled in training and the result is multiplied by
    1 − ratio at inference. A Mul after the Dropout, whose own scaling it undoes in training, does both.
    """
    fields = layer.fields.block("dropout_param")
    ratio = fields.number("dropout_ratio", 0.5)
    # At a ratio of 1 Caffe's factor 1 / (1 − ratio) is no number.
    if not 0 <= ratio < 1:
        raise layer.layer_error(f"{layer.text} drops {ratio:g} of its input", "dropout_ratio", "0 ≤ ratio < 1", fields)
    if fields.flag("sample_weights_test", False):
        layer.site.report.note("sample_weights_test: Dropout is deployed as the identity here, not sampled")
    operands = [layer.inputs[0], layer.number("ratio", ratio)]
    if fields.flag("scale_train", True):
        return layer.node("Dropout", operands)
    return layer.node("Mul", [layer.step("drop", "Dropout", operands), layer.number("keep", 1 - ratio)])


def _plain(op: str, *params: str) -> Translate:
    """Return the translator of a function that has no settings."""

    def translate(layer: Layer) -> ir.Value:
        _no_settings(layer, *params)
        return layer.node(op, layer.inputs)

    return translate


def _no_settings(layer: Layer, *params: str) -> None:
    """Accept blocks that hold nothing which could change the result; any such field in them is an error."""
    for param in params:
        layer.fields.block(param)


LAYERS = {
    "ReLU": Translator(relu),
    "ReLU6": Translator(relu6),
    "PReLU": Translator(prelu),
    "ELU": Translator(elu),
    "Sigmoid": Translator(_plain("Sigmoid", "sigmoid_param")),
    "TanH": Translator(_plain("Tanh", "tanh_param")),
    "AbsVal": Translator(_plain("Abs", "absval_param")),
    # log(1 + exp(x)), the binomial normal log likelihood
    "BNLL": Translator(_plain("Softplus", "bnll_param")),
    "Swish": Translator(swish),
    "Mish": Translator(mish),
    "HardSwish": Translator(_plain("HardSwish", "hardswish_param")),
    "HSwish": Translator(_plain("HardSwish", "hswish_param")),
    "HardSigmoid": Translator(hard_sigmoid),
    "Softmax": Translator(softmax),
    "Dropout": Translator(dropout),
}
