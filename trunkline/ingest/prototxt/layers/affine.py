"""Scale and Bias: a factor or an offset per channel, learned or computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.initial import ONE, ZERO, filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.network.net import LayerText
from trunkline.ingest.prototxt.text.fields import Fields


def scale(layer: Layer) -> ir.Value:
    """Scale → Mul, and Add with ``bias_term``; weights ``<layer>.weight`` and ``.bias``, ``[C, 1, 1]``."""
    fields = layer.fields.block("scale_param")
    start, offset = filler(fields, "filler", ONE), filler(fields, "bias_filler", ZERO)
    biased = fields.flag("bias_term", False)
    if len(layer.inputs) == 2:
        if biased:
            message = f"{layer.text} has two bottoms and a bias_term, whose bias would depend on the batch size"
            raise layer.layer_error(message, "bias_term", "add a Bias layer after it", fields)
        return layer.node("Mul", [layer.inputs[0], _second(layer, fields)])
    shape = _spread(layer, fields)
    factor = layer.weight("weight", shape, start, blob=0)
    if not biased:
        return layer.node("Mul", [layer.inputs[0], factor])
    product = layer.step("mul", "Mul", [layer.inputs[0], factor])
    return layer.node("Add", [product, layer.weight("bias", shape, offset, blob=1)])


def bias(layer: Layer) -> ir.Value:
    """Bias → Add; weight ``<layer>.bias``, ``[C, 1, 1]``."""
    fields = layer.fields.block("bias_param")
    start = filler(fields, "filler", ZERO)
    if len(layer.inputs) == 2:
        return layer.node("Add", [layer.inputs[0], _second(layer, fields)])
    return layer.node("Add", [layer.inputs[0], layer.weight("bias", _spread(layer, fields), start, blob=0)])


def fits_batch_norm(norm: Layer, text: LayerText) -> bool:
    """Whether a Scale layer scales each channel by one factor, as a BatchNormalization can."""
    return _spread(norm.absorbed(text), text.fields.block("scale_param")) == per_channel(norm.shape())


def per_channel(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that spreads one number a channel over ``sizes``: ``(C, 1, 1)`` for ``(C, H, W)``."""
    return (*sizes[:1], *(1 for _ in sizes[1:]))


def scale_weights(norm: Layer, text: LayerText, channels: int) -> tuple[ir.Value, ir.Value]:
    """Return scale and shift of a Scale layer that a BatchNorm has absorbed, ``[C]`` each.

    Without ``bias_term`` the shift is a constant 0: BatchNormalization always has one.
    """
    absorbed = norm.absorbed(text)  # so that the weights are named after the Scale layer, which holds them in Caffe
    fields = text.fields.block("scale_param")
    start, offset = filler(fields, "filler", ONE), filler(fields, "bias_filler", ZERO)
    weight = absorbed.weight("weight", (channels,), start, blob=0)
    if fields.flag("bias_term", False):
        return weight, absorbed.weight("bias", (channels,), offset, blob=1)
    return weight, absorbed.constant("bias", np.zeros(channels, np.float32))


def scale_after(norm: Layer, text: LayerText, value: ir.Value) -> ir.Value:
    """Emit an absorbed Scale layer on its own after all, reading ``value``."""
    layer = norm.absorbed(text)
    layer.inputs = [value]
    return scale(layer)


def _spread(layer: Layer, fields: Fields) -> tuple[int, ...]:
    """Return the broadcasting shape of a weight that starts at ``axis`` and spans ``num_axes`` (-1: to the end)."""
    axis, count = layer.axis(fields), fields.integer("num_axes", 1, minimum=-1)
    sizes = layer.shape()
    start = axis - 1  # the sizes are those without the batch axis
    end = len(sizes) if count < 0 else start + count
    if end > len(sizes):
        raise layer.layer_error(
            f"{layer.text} spans {count} axes of an input {layer.written()}", "num_axes", within=fields
        )
    ones_before, ones_after = (1,) * start, (1,) * (len(sizes) - end)
    return (*ones_before, *sizes[start:end], *ones_after)


def _second(layer: Layer, fields: Fields) -> ir.Value:
    """Return the second bottom, shaped to broadcast: it covers the first axes of the first one."""
    fields.ignore("num_axes")  # the second bottom's own number of axes counts
    first, second = layer.shape(0), layer.shape(1)
    # Caffe lays the second bottom onto the first from `axis` on. Both begin with the batch, so only axis 0 fits.
    if fields.integer("axis", 1, minimum=-8) not in (0, -len(first) - 1):
        raise layer.layer_error(
            f"{layer.text} with two bottoms needs axis: 0", "axis", "both start with the batch", fields
        )
    if first[: len(second)] != second:
        raise layer.layer_error(f"{layer.text} cannot spread {layer.written(1)} over {layer.written(0)}")
    return spread(layer, 1, len(first))


def spread(layer: Layer, index: int, rank: int) -> ir.Value:
    """Return an input with axes of size 1 added at its end, until it has ``rank`` axes besides the batch."""
    sizes = layer.shape(index)
    if len(sizes) == rank:
        return layer.inputs[index]
    ones = [1] * (rank - len(sizes))
    shape = np.array([0, *sizes, *ones], dtype=np.int64)  # 0 copies the batch
    return layer.step("spread", "Reshape", [layer.inputs[index], layer.constant("shape", shape)], {"allowzero": 0})


LAYERS = {"Scale": Translator(scale, bottoms=(1, 2)), "Bias": Translator(bias, bottoms=(1, 2))}
