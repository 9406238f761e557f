"""Resize, in the layers that forks of Caffe have: Upsample, Interp, ResizeBilinear and ResizeNearestNeighbor."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from trunkline.ingest.graph import array_of, attribute, name_of
from trunkline.ingest.prototxt.layers.nearest_pixels import Coordinates, nearest_pixels
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, sizes
from trunkline.ingest.prototxt.writer.net import Setting, Text, block

_LINEAR: Mapping[str, Coordinates] = {
    "half_pixel": "half_pixel_centers",
    "pytorch_half_pixel": "pytorch_half_pixel",
    "asymmetric": "",
}
_NEAREST: Mapping[tuple[str, str], Coordinates] = {
    ("align_corners", "round_prefer_ceil"): "align_corners",
    ("half_pixel", "round_prefer_ceil"): "half_pixel_centers",
    ("asymmetric", "floor"): "",
}


def resize(to: Emitter, node: ir.Node) -> None:
    """Resize → Upsample (repetition), Interp (linear, corners aligned), or a layer of the Synopsys fork."""
    before, after = sizes(to.data(node)), sizes(node.outputs[0])
    if len(before) != 4 or before[1] != after[1]:
        raise InexpressibleError("it resizes more than height and width")
    mode, where = attribute(node, "mode", "nearest"), attribute(node, "coordinate_transformation_mode", "half_pixel")
    data, tops, name = name_of(to.data(node)), to.tops(node), name_of(node)
    if mode == "linear" and where == "align_corners":
        to.note("Interp layers were written, which DeepLab's fork of Caffe has")
        to.add(name, "Interp", [data], tops, block("interp_param", {"height": after[2], "width": after[3]}))
        return
    factors = after[2] // before[2], after[3] // before[3]
    whole = (before[2] * factors[0], before[3] * factors[1]) == after[2:] and factors[0] == factors[1] > 0
    if mode == "nearest" and whole and _repeats(node, factors[0]):
        to.note("Upsample layers were written, which YOLO's fork of Caffe has")
        to.add(name, "Upsample", [data], tops, block("upsample_param", {"scale": factors[0]}))
        return
    kind, coordinates = _of_synopsys(node, before, after)
    to.note(f"{kind} layers were written, which the Synopsys fork of Caffe has")
    settings: dict[str, Setting] = {"output_height": after[2], "output_width": after[3], "data_format": Text("NCHW")}
    if coordinates:
        settings[coordinates] = True
    param = "resize_bilinear_param" if kind == "ResizeBilinear" else "resize_nearest_neighbor_param"
    to.add(name, kind, [data], tops, block(param, settings))


def _of_synopsys(node: ir.Node, before: tuple[int, ...], after: tuple[int, ...]) -> tuple[str, Coordinates]:
    """Return the layer type of the Synopsys fork, and the flag that says where its pixels lie."""
    mode, where = attribute(node, "mode", "nearest"), attribute(node, "coordinate_transformation_mode", "half_pixel")
    rounding = attribute(node, "nearest_mode", "round_prefer_floor")
    axes = list(zip(before[2:], after[2:], strict=True))
    if not _follows_sizes(node, axes) or attribute(node, "antialias", 0):
        raise InexpressibleError("its places do not follow from the two sizes alone")
    if mode == "linear" and where in _LINEAR:
        return "ResizeBilinear", _LINEAR[where]
    coordinates = _NEAREST.get((where, rounding)) if mode == "nearest" else None
    if coordinates is not None and all(nearest_pixels(*axis, coordinates)[1] for axis in axes):
        return "ResizeNearestNeighbor", coordinates
    raise InexpressibleError(f"mode {mode}, {where}, {rounding}: no fork that is known resizes so")


def _follows_sizes(node: ir.Node, axes: list[tuple[int, int]]) -> bool:
    """Whether scales, where the node has them, are what the sizes come to."""
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    if scales is None:
        return True
    given = array_of(scales).ravel().tolist()[-2:] if scales.is_initializer() else []
    return given in ([], [target / size for size, target in axes])


def _repeats(node: ir.Node, factor: int) -> bool:
    """Whether taking the nearest pixel means to repeat every pixel ``factor`` times."""
    where = attribute(node, "coordinate_transformation_mode", "half_pixel")
    rounding = attribute(node, "nearest_mode", "round_prefer_floor")
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    if scales is not None and scales.is_initializer():
        given = [float(scale) for scale in array_of(scales)][-2:]
        if given not in ([], [factor, factor]):  # places follow from the scale given, not from the sizes
            return False
    if where == "asymmetric":
        return rounding == "floor" or factor == 1
    return bool(where == "half_pixel" and rounding.startswith("round_prefer"))


WRITERS: dict[str, Emit] = {"Resize": resize}
