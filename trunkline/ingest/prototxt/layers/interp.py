"""Interp and Padding of DeepLab: bilinear resizing with aligned corners, and a border of zeros.

Source of the formulas: DeepLab's fork of Caffe, ``InterpLayer`` and ``PaddingLayer``.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import Attribute
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.layers.pairs import Pair
from trunkline.ingest.prototxt.text.fields import Fields


def interp(layer: Layer) -> ir.Value:
    """Interp → Resize, linear with aligned corners; a negative padding cuts the input first."""
    fields = layer.fields.block("interp_param")
    begin, end = _padding(layer, fields)
    if max(begin, end) > 0:
        raise layer.layer_error(
            f"{layer.text} can cut its input, but not pad it", "pad_beg", "use a Padding layer", fields
        )
    inner = _inner(layer, fields, begin, end)
    size = _size(layer, fields, inner)
    data = layer.inputs[0]
    if begin or end:
        data = layer.step("cut", "Slice", _cut_operands(layer, begin, inner))
    sizes = layer.constant("sizes", np.array(size, np.int64))
    settings: dict[str, Attribute] = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    settings["axes"] = (2, 3)
    return layer.node("Resize", [data, None, None, sizes], settings)


def padding(layer: Layer) -> ir.Value:
    """Padding → Pad with zeros on all four sides, or Slice where both numbers are negative."""
    fields = layer.fields.block("padding_param")
    begin, end = _padding(layer, fields)
    if min(begin, end) < 0 < max(begin, end):
        raise layer.layer_error(f"{layer.text} pads on one side and cuts on the other", "pad_beg", within=fields)
    inner = _inner(layer, fields, begin, end)
    if min(begin, end) < 0:
        return layer.node("Slice", _cut_operands(layer, begin, inner))
    pads = layer.constant("pads", np.array([0, 0, begin, begin, 0, 0, end, end], np.int64))
    return layer.node("Pad", [layer.inputs[0], pads], {"mode": "constant"})


def _padding(layer: Layer, fields: Fields) -> Pair:
    most = layer.site.limits.size
    return fields.integer("pad_beg", 0, minimum=-most), fields.integer("pad_end", 0, minimum=-most)


def _inner(layer: Layer, fields: Fields, begin: int, end: int) -> Pair:
    """Return height and width after padding."""
    _, height, width = layer.image()
    inner = height + begin + end, width + begin + end
    if min(inner) < 1:
        message = f"{layer.text}: pad_beg {begin} and pad_end {end} leave nothing of {layer.written()}"
        raise layer.layer_error(message, "pad_beg", within=fields)
    return inner


def _size(layer: Layer, fields: Fields, inner: Pair) -> Pair:
    """Return the one size that the layer gives: by a second bottom, by numbers, or by factors."""
    numbers = fields.integer("height", 0), fields.integer("width", 0)
    zoom, shrink = fields.integer("zoom_factor", 1, minimum=1), fields.integer("shrink_factor", 1, minimum=1)
    by_factor = fields.has("zoom_factor") or fields.has("shrink_factor")
    by_second, by_numbers = len(layer.inputs) == 2, max(numbers) > 0
    if [by_second, by_numbers, by_factor].count(True) != 1:
        message = f"{layer.text} needs its size given in one way"
        raise layer.layer_error(message, advice="height and width, or zoom_factor/shrink_factor, or a second bottom")
    if by_second:
        return _size_of_second(layer)
    if by_factor:
        return _scaled(inner[0], zoom, shrink), _scaled(inner[1], zoom, shrink)
    if min(numbers) < 1:
        raise layer.layer_error(f"{layer.text} gives only one of height and width", "height", within=fields)
    return numbers


def _size_of_second(layer: Layer) -> Pair:
    shape = layer.shape(1)
    if len(shape) != 3:
        raise layer.layer_error(f"{layer.text}: its second bottom {layer.written(1)} has no height and width", "bottom")
    return shape[1], shape[2]


def _scaled(size: int, zoom: int, shrink: int) -> int:
    """Return the number of pixels when all distances between pixels shrink, then zoom."""
    # Corners are aligned, so n pixels are n − 1 distances.
    size = (size - 1) // shrink + 1
    return size + (size - 1) * (zoom - 1)


def _cut_operands(layer: Layer, begin: int, size: Pair) -> list[ir.Value]:
    """Return the inputs of a Slice that leaves ``size`` pixels, -``begin`` pixels from the first one on."""
    starts = layer.constant("starts", np.array([-begin, -begin], np.int64))
    ends = layer.constant("ends", np.array([size[0] - begin, size[1] - begin], np.int64))
    return [layer.inputs[0], starts, ends, layer.constant("axes", np.array([2, 3], np.int64))]


LAYERS = {"Interp": Translator(interp, bottoms=(1, 2)), "Padding": Translator(padding)}
