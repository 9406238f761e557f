"""ResizeBilinear and ResizeNearestNeighbor of the Synopsys fork: TensorFlow's resizing, in all its coordinates.

Where output pixel i lies in an input of n pixels, for an output of m:

- ``align_corners``: i · (n − 1) / (m − 1);
- ``half_pixel_centers``: (i + 1/2) · n / m − 1/2; ``pytorch_half_pixel`` the same, but 0 for an output of one pixel;
- neither: i · n / m.

Bilinear mixes the two pixels beside that place. Nearest takes the pixel below it; the nearer one with
``align_corners``, the later of two; and the one below (i + 1/2) · n / m with ``half_pixel_centers``. Without
``data_format`` the fork takes its blob for N x H x W x C.

Source: synopsys-caffe, ``resize_bilinear_layer.cpp`` and ``resize_nearest_neighbor_layer.cpp``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import Attribute
from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.layers.nearest_pixels import Coordinates, nearest_pixels
from trunkline.ingest.prototxt.layers.pairs import Pair
from trunkline.ingest.prototxt.layers.too_small import too_small_error
from trunkline.ingest.prototxt.text.fields import Fields

# The fork's flag → ONNX's coordinate_transformation_mode, and nearest_mode.
_BILINEAR: Mapping[Coordinates, str] = {
    "align_corners": "align_corners",
    "half_pixel_centers": "half_pixel",
    "pytorch_half_pixel": "pytorch_half_pixel",
    "": "asymmetric",
}
_NEAREST: Mapping[Coordinates, tuple[str, str]] = {
    "align_corners": ("align_corners", "round_prefer_ceil"),
    "half_pixel_centers": ("half_pixel", "round_prefer_ceil"),
    "": ("asymmetric", "floor"),
}
_AXES: Mapping[str, Pair] = {"NHWC": (1, 2), "NCHW": (2, 3)}


def bilinear(layer: Layer) -> ir.Value:
    """ResizeBilinear → Resize, linear."""
    fields = layer.fields.block("resize_bilinear_param")
    chosen = _coordinates(layer, fields, tuple(_BILINEAR))
    axes = _axes(layer, fields)
    sizes = _stored(layer, _target(layer, fields, _size(layer, axes)))
    settings: dict[str, Attribute] = {"mode": "linear", "coordinate_transformation_mode": _BILINEAR[chosen]}
    return layer.node("Resize", [layer.inputs[0], None, None, sizes], {**settings, "axes": axes})


def nearest(layer: Layer) -> ir.Value:
    """ResizeNearestNeighbor → Resize, nearest; Gather where a rounding error decides between two pixels."""
    fields = layer.fields.block("resize_nearest_neighbor_param")
    chosen = _coordinates(layer, fields, tuple(_NEAREST))
    axes = _axes(layer, fields)
    size = _size(layer, axes)
    target = _target(layer, fields, size)
    rows, rows_agree = nearest_pixels(size[0], target[0], chosen)
    columns, columns_agree = nearest_pixels(size[1], target[1], chosen)
    if not (rows_agree and columns_agree):  # the pixels are named one by one, so that no runtime has to round
        chosen_rows = layer.constant("rows", np.array(rows))
        chosen_columns = layer.constant("columns", np.array(columns))
        tall = layer.step("rows", "Gather", [layer.inputs[0], chosen_rows], {"axis": axes[0]})
        return layer.node("Gather", [tall, chosen_columns], {"axis": axes[1]})
    where, rounding = _NEAREST[chosen]
    settings: dict[str, Attribute] = {"mode": "nearest", "coordinate_transformation_mode": where}
    operands = [layer.inputs[0], None, None, _stored(layer, target)]
    return layer.node("Resize", operands, {**settings, "nearest_mode": rounding, "axes": axes})


def _coordinates(layer: Layer, fields: Fields, known: Sequence[Coordinates]) -> Coordinates:
    flags = [name for name in known if name]
    given = [name for name in flags if fields.flag(name, False)]
    if len(given) > 1:
        raise layer.layer_error(f"{layer.text} has {given[0]} and {given[1]}", given[1], "keep one of the two", fields)
    return given[0] if given else ""


def _axes(layer: Layer, fields: Fields) -> Pair:
    """Return the two axes that are resized."""
    layer.image()
    written = fields.string("data_format", "NHWC")
    if written not in _AXES:
        message = f"{layer.text} has data_format {written}"
        raise layer.layer_error(message, "data_format", "NCHW, or NHWC, the fork's default", fields)
    if not fields.has("data_format"):
        layer.site.report.note(
            f"{layer.text} gives no data_format: it resizes axes 1 and 2, as the Synopsys fork does, of N x H x W x C"
        )
    return _AXES[written]


def _size(layer: Layer, axes: Pair) -> Pair:
    shape = layer.shape()
    return shape[axes[0] - 1], shape[axes[1] - 1]


def _target(layer: Layer, fields: Fields, size: Pair) -> Pair:
    """Return height and width of the result: as given, or the input's times a factor, in single precision."""
    factors = fields.number("scale_height", 1.0), fields.number("scale_width", 1.0)
    height = fields.integer("output_height", 1, minimum=1) if fields.has("output_height") else None
    width = fields.integer("output_width", 1, minimum=1) if fields.has("output_width") else None
    return (
        height or _scaled(layer, fields, "scale_height", size[0], factors[0]),
        width or _scaled(layer, fields, "scale_width", size[1], factors[1]),
    )


def _scaled(layer: Layer, fields: Fields, name: str, size: int, factor: float) -> int:
    most = layer.site.limits.size
    if not 0 < factor * size <= most:
        message = f"{layer.text} cannot make {factor * size:,.0f} pixels of {size}"
        raise layer.layer_error(message, name, f"give a factor above 0, and at most {most:,} pixels", fields)
    # In float32, as in the fork: the rounding may decide whether there is a last pixel.
    target = math.floor(np.float32(size) * np.float32(factor))
    if target < 1:
        raise too_small_error(layer, f"{layer.text} leaves nothing of {size} pixels by {name} {factor:g}")
    return target


def _stored(layer: Layer, target: Pair) -> ir.Value:
    return layer.constant("sizes", np.array(target, np.int64))


LAYERS = {"ResizeBilinear": Translator(bilinear), "ResizeNearestNeighbor": Translator(nearest)}
