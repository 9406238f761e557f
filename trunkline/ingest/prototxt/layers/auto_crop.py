"""AutoCrop of RCF's fork (HED's Crop before it): cuts one blob where the layers before it line it up with another.

Both blobs come from a common one. A layer moves pixel x of its input to pixel a · x + b of its result:

1. convolution and pooling of a window of k pixels: a = 1 / stride, b = (pad − (k − 1) / 2) / stride;
2. deconvolution: a = stride, b = (k − 1) / 2 − pad;
3. a cut: a = 1, b = −offset;
4. functions of one number: a = 1, b = 0.

Put together along both ways, they take a pixel of the first blob to the one of the second that it belongs to:
x − offset, where the offset must be a whole number. Source: yun-liu/RCF, ``auto_crop_layer.cpp`` and the
``coord_map`` of its layers.
"""

from __future__ import annotations

from fractions import Fraction

import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute
from trunkline.ingest.prototxt.layers.crop import emit_crop
from trunkline.ingest.prototxt.layers.layer import Layer, Translator

FormulaStep = tuple[Fraction, Fraction]
"""Pixel x becomes a · x + b, along one axis."""

_STAYS: FormulaStep = (Fraction(1), Fraction(0))
_WINDOWS = frozenset({"AveragePool", "Conv", "MaxPool"})
_POINTWISE = frozenset(
    {
        *("Abs", "Add", "BatchNormalization", "Clip", "Concat", "Dropout", "Elu", "Exp", "HardSigmoid", "HardSwish"),
        *("LRN", "LeakyRelu", "Log", "Max", "Mul", "PRelu", "Pow", "Relu", "Sigmoid", "Softmax", "Softplus", "Sub"),
        *("Split", "Sqrt", "Tanh"),
    }
)
"""Operators whose result has the pixels of its first input, where they are."""

_ADVICE = "write Crop with the offset that is meant"


def auto_crop(layer: Layer) -> ir.Value:
    """AutoCrop → Slice of height and width, to those of the second bottom."""
    size, wanted = layer.image()[1:], layer.shape(1)[1:]
    if len(wanted) != 2:
        raise layer.layer_error(f"{layer.text}: its second bottom {layer.written(1)} has no height and width", "bottom")
    offsets = _offset(layer, 0), _offset(layer, 1)
    if any(offset + target > extent for offset, target, extent in zip(offsets, wanted, size, strict=True)):
        message = f"{layer.text}: {wanted[0]} x {wanted[1]} from {offsets[0]} x {offsets[1]} on do not fit its input"
        raise layer.layer_error(f"{message} {layer.written()}", "bottom", _ADVICE)
    layer.site.report.note(f"{layer.text} cuts from {offsets[0]} x {offsets[1]} on, where its two bottoms line up")
    starts = dict(zip((2, 3), offsets, strict=True))
    return emit_crop(layer, starts, dict(zip((2, 3), wanted, strict=True)))


def _offset(layer: Layer, axis: int) -> int:
    """Return the pixels to cut off before height (axis 0) or width (axis 1)."""
    first, second = _way(layer.inputs[0]), _way(layer.inputs[1])
    known = {id(value) for value in first}
    # The nearest one: whatever lies before it moves the pixels of both bottoms by the same amount.
    common = next((value for value in second if id(value) in known), None)
    if common is None:
        raise layer.layer_error(f"{layer.text}: its two bottoms have no blob in common", "bottom", _ADVICE)
    scale, shift = _moved(layer, first, common, axis)
    other_scale, other_shift = _moved(layer, second, common, axis)
    if scale != other_scale:
        message = f"{layer.text}: a pixel of its first bottom is {other_scale / scale} of its second's"
        raise layer.layer_error(message, "bottom", "both must be as large a part of the image")
    offset = shift - other_shift
    if offset < 0 or offset.denominator != 1:
        message = f"{layer.text} cuts where its two bottoms line up, which is {float(offset):g} pixels from the edge"
        raise layer.layer_error(message, "bottom", f"RCF's fork refuses that too: {_ADVICE}")
    return int(offset)


def _way(value: ir.Value) -> list[ir.Value]:
    """Return the values that lead to ``value`` by first inputs, from it back to the image."""
    found = [value]
    while (producer := found[-1].producer()) is not None and producer.inputs[0] is not None:
        found.append(producer.inputs[0])
    return found


def _moved(layer: Layer, way: list[ir.Value], common: ir.Value, axis: int) -> FormulaStep:
    """Return where a pixel of ``common`` lies in the blob that the way leads to."""
    scale, shift = _STAYS
    for value in way:
        if value is common:
            break
        factor, addend = _step(layer, value.producer(), axis)
        scale, shift = scale * factor, scale * addend + shift
    return scale, shift


def _step(layer: Layer, node: ir.Node | None, axis: int) -> FormulaStep:
    """Return where one node moves the pixels of its input, by the rules of the module's text."""
    assert node is not None
    if node.op_type in _POINTWISE:  # rule 4
        return _STAYS
    if node.op_type in _WINDOWS:  # rule 1
        stride, reach = _window(node, axis)
        return Fraction(1) / stride, -reach / stride
    if node.op_type == "ConvTranspose":  # rule 2
        return _window(node, axis)
    if node.op_type == "Slice":  # rule 3
        starts, axes = (array_of(operand).tolist() for operand in (node.inputs[1], node.inputs[3]) if operand)
        offsets = dict(zip(axes, starts, strict=True))
        return Fraction(1), -Fraction(offsets.get(axis + 2, 0))  # height is axis 2 of N x C x H x W
    message = f"{layer.text}: what {node.op_type} before it does to the places of pixels is not defined"
    raise layer.layer_error(message, "bottom", _ADVICE)


def _window(node: ir.Node, axis: int) -> FormulaStep:
    """Return stride, and (k − 1) / 2 − pad for the extent k of the window."""
    dilation = attribute(node, "dilations", [1, 1])[axis]  # AveragePool has none before opset 19
    reach = dilation * (attribute(node, "kernel_shape")[axis] - 1)
    return Fraction(attribute(node, "strides")[axis]), Fraction(reach, 2) - attribute(node, "pads")[axis]


LAYERS = {"AutoCrop": Translator(auto_crop, bottoms=(2, 2))}
