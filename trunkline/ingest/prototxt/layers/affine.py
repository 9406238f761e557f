"""Scale and Bias: a factor or an offset per channel, learned or computed."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.fields import Fields
from trunkline.ingest.prototxt.layers.initial import ONE, ZERO, filler
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.net import LayerText


def scale(layer: Layer) -> ir.Value:
    """Scale → Mul, and Add with ``bias_term``; weights ``<layer>.weight`` and ``.bias``, ``[C, 1, 1]``."""
    fields = layer.fields.block("scale_param")
    start, offset = filler(fields, "filler", ONE), filler(fields, "bias_filler", ZERO)
    biased = fields.flag("bias_term", False)
    factor = _second(layer, fields) if len(layer.inputs) == 2 else None
    if factor is None:
        factor = layer.weight("weight", _per_channel(layer, fields), start, blob=0)
    if not biased:
        return layer.node("Mul", [layer.inputs[0], factor])
    product = layer.step("mul", "Mul", [layer.inputs[0], factor])
    # With two bottoms the factor is computed, so the bias is the layer's first blob.
    bias = layer.weight("bias", _per_channel(layer, fields), offset, blob=2 - len(layer.inputs))
    return layer.node("Add", [product, bias])


def bias(layer: Layer) -> ir.Value:
    """Bias → Add."""
    fields = layer.fields.block("bias_param")
    start = filler(fields, "filler", ZERO)
    offset = _second(layer, fields) if len(layer.inputs) == 2 else None
    if offset is None:
        offset = layer.weight("bias", _per_channel(layer, fields), start, blob=0)
    return layer.node("Add", [layer.inputs[0], offset])


def scale_weights(norm: Layer, text: LayerText, channels: int) -> tuple[ir.Value, ir.Value]:
    """Return scale and shift of a Scale layer that a BatchNorm has absorbed, ``[C]`` each.

    Without ``bias_term`` the shift starts at 0 all the same: BatchNormalization always has one.
    """
    absorbed = norm.absorbed(text)
    fields = text.fields.block("scale_param")
    start, offset = filler(fields, "filler", ONE), filler(fields, "bias_filler", ZERO)
    if fields.integer("axis", 1, minimum=-8) not in (1, -len(norm.shape())) or _num_axes(fields) != 1:
        raise absorbed.fault(f"{text} after a BatchNorm must scale axis 1", "axis", within=fields)
    if not fields.flag("bias_term", False):
        norm.site.report.note(f"{text} has no shift; one was added that starts at 0 and will train")
        offset = ZERO
    text.fields.finish()
    weight = absorbed.weight("weight", (channels,), start, blob=0)
    return weight, absorbed.weight("bias", (channels,), offset, blob=1)


def _per_channel(layer: Layer, fields: Fields) -> tuple[int, ...]:
    """Return the broadcasting shape of a weight that starts at ``axis`` and spans ``num_axes``."""
    axis, count = layer.axis(fields), _num_axes(fields)
    sizes = layer.shape()[axis - 1 :]
    count = len(sizes) if count < 0 else count
    if count > len(sizes):
        raise layer.fault(f"{layer.text} spans {count} axes of an input {layer.written()}", "num_axes", within=fields)
    return (*sizes[:count], *(1 for _ in sizes[count:]))


def _num_axes(fields: Fields) -> int:
    return fields.integer("num_axes", 1, minimum=-1)


def _second(layer: Layer, fields: Fields) -> ir.Value:
    """Return the second bottom, shaped to broadcast: it covers the first axes of the first one."""
    fields.ignore("num_axes")
    if fields.integer("axis", 1, minimum=-8) != 0:
        raise layer.fault(f"{layer.text} with two bottoms needs axis: 0", "axis", "both start with the batch", fields)
    first, second = layer.shape(0), layer.shape(1)
    if first[: len(second)] != second:
        raise layer.fault(f"{layer.text} cannot spread {layer.written(1)} over {layer.written(0)}")
    if len(first) == len(second):
        return layer.inputs[1]
    shape = np.array([0, *second, *(1 for _ in first[len(second) :])], dtype=np.int64)
    return layer.step("spread", "Reshape", [layer.inputs[1], layer.constant("shape", shape)], {"allowzero": 0})


LAYERS = {"Scale": Translator(scale, bottoms=(1, 2)), "Bias": Translator(bias, bottoms=(1, 2))}
