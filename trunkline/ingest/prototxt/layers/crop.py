"""Crop: the part of one blob that has the size of another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.text.fields import Fields


def crop(layer: Layer) -> ir.Value:
    """Crop → Slice: from ``axis`` on, the size of the second bottom, beginning at ``offset``."""
    fields = layer.fields.block("crop_param")
    first, second = layer.shape(0), layer.shape(1)
    if len(first) != len(second):
        raise layer.layer_error(f"{layer.text} cannot cut {layer.written(0)} to {layer.written(1)}", "bottom")
    axes = range(_first_axis(layer, fields), len(first) + 1)
    offsets = _offsets(layer, fields, len(axes))
    starts = dict(zip(axes, offsets, strict=True))
    # The batch may be among the axes, since it has the size of the reference already.
    if starts.pop(0, 0):
        raise layer.layer_error(f"{layer.text} cuts the batch axis, which stays free", "offset", within=fields)
    for axis, start in starts.items():
        if start + second[axis - 1] > first[axis - 1]:
            message = f"{layer.text}: {second[axis - 1]} from {start} on do not fit axis {axis}"
            message += f" of its input {layer.written(0)}"
            raise layer.layer_error(message, "offset", f"the reference is {layer.written(1)}", fields)
    return emit_crop(layer, starts, {axis: second[axis - 1] for axis in starts})


def emit_crop(layer: Layer, starts: Mapping[int, int], sizes: Mapping[int, int]) -> ir.Value:
    """Emit the Slice that leaves ``sizes`` of the first input, beginning at ``starts``; both by axis."""
    ends = [start + sizes[axis] for axis, start in starts.items()]
    operands = {"starts": list(starts.values()), "ends": ends, "axes": list(starts)}
    stored = [layer.constant(role, np.array(content, np.int64)) for role, content in operands.items()]
    return layer.node("Slice", [layer.inputs[0], *stored])


def _first_axis(layer: Layer, fields: Fields) -> int:
    # Not Layer.axis, which refuses the batch axis: a Crop may begin there and cut nothing of it.
    rank = len(layer.shape()) + 1
    given = fields.integer("axis", 2, minimum=-8)
    axis = given + rank if given < 0 else given
    if not 0 <= axis < rank:
        raise layer.layer_error(
            f"{layer.text} has no axis {given}: its input is {layer.written()}", "axis", within=fields
        )
    return axis


def _offsets(layer: Layer, fields: Fields, count: int) -> list[int]:
    offsets = fields.integers("offset")
    if not offsets:
        if layer.shape(0) != layer.shape(1):
            layer.site.report.note(
                f"{layer.text} gives no offset and cuts from the first row and column, as Caffe does since 2016; "
                "files for older forks, which computed the offset, need it written down"
            )
        return [0] * count
    if len(offsets) not in (1, count):
        message = f"{layer.text} has {len(offsets)} offsets for {count} axes"
        raise layer.layer_error(message, "offset", "give one for all, or one each", fields)
    return offsets if len(offsets) == count else offsets * count


LAYERS = {"Crop": Translator(crop, bottoms=(2, 2))}
