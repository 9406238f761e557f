"""Resize, in the layers that forks of Caffe have: Upsample, Interp, ResizeBilinear and ResizeNearestNeighbor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute
from trunkline.ingest.prototxt.layers.nearest_pixels import Coordinates, nearest_pixels
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, sizes
from trunkline.ingest.prototxt.writer.net import Setting, Text, block

_LINEAR: Mapping[str, Coordinates] = {
    "align_corners": "align_corners",
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
    resized = [axis for axis in range(1, len(before)) if before[axis] != after[axis]]
    if len(before) != 4 or {1, 3} <= {*resized}:
        raise InexpressibleError("it resizes more than height and width")
    # The layers of older forks first: more programs have them, but they know N x C x H x W only.
    if 1 not in resized and _write_simple(to, node, before, after):
        return
    if not _follows_sizes(node, before, after):
        raise InexpressibleError("its places do not follow from the two sizes alone")
    axes = (1, 2) if 1 in resized else (2, 3)  # axis 1 is height in N x H x W x C
    kind, coordinates = _of_synopsys(node, [(before[axis], after[axis]) for axis in axes])
    to.note(f"{kind} layers were written, which the Synopsys fork of Caffe has")
    settings: dict[str, Setting] = {"output_height": after[axes[0]], "output_width": after[axes[1]]}
    settings["data_format"] = Text("NHWC" if 1 in axes else "NCHW")
    if coordinates:
        settings[coordinates] = True
    param = "resize_bilinear_param" if kind == "ResizeBilinear" else "resize_nearest_neighbor_param"
    to.layer(node, kind, block(param, settings))


def _write_simple(to: Emitter, node: ir.Node, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Write the layer of an older fork where there is one: repetition, or linear with aligned corners."""
    mode, where = attribute(node, "mode", "nearest"), attribute(node, "coordinate_transformation_mode", "half_pixel")
    if mode == "linear" and where == "align_corners":
        to.note("Interp layers were written, which DeepLab's fork of Caffe has")
        to.layer(node, "Interp", block("interp_param", {"height": after[2], "width": after[3]}))
        return True
    factors = after[2] // before[2], after[3] // before[3]
    is_exact = (before[2] * factors[0], before[3] * factors[1]) == after[2:]
    whole = is_exact and factors[0] == factors[1] > 0
    if mode != "nearest" or not whole or not _repeats(node, factors[0]):
        return False
    to.note("Upsample layers were written, which YOLO's fork of Caffe has")
    to.layer(node, "Upsample", block("upsample_param", {"scale": factors[0]}))
    return True


def _of_synopsys(node: ir.Node, axes: Sequence[tuple[int, int]]) -> tuple[str, Coordinates]:
    """Return the layer type of the Synopsys fork, and its flag for where pixels lie."""
    mode, where = attribute(node, "mode", "nearest"), attribute(node, "coordinate_transformation_mode", "half_pixel")
    rounding = attribute(node, "nearest_mode", "round_prefer_floor")
    if attribute(node, "antialias", 0):
        raise InexpressibleError("it is antialiased")
    if mode == "linear" and where in _LINEAR:
        return "ResizeBilinear", _LINEAR[where]
    coordinates = _NEAREST.get((where, rounding)) if mode == "nearest" else None
    # Where a rounding error decides, the fork and ONNX's runtimes take different pixels.
    if coordinates is not None and all(nearest_pixels(*axis, coordinates)[1] for axis in axes):
        return "ResizeNearestNeighbor", coordinates
    raise InexpressibleError(f"mode {mode}, {where}, {rounding}: no fork that is known resizes so")


def _follows_sizes(node: ir.Node, before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether scales, where the node has them, are exactly the quotients of the sizes."""
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    if scales is None or not scales.is_initializer():
        return True
    given = array_of(scales).ravel().tolist()
    if not given:  # an empty tensor is how a Resize leaves its scales out
        return True
    axes = attribute(node, "axes") or range(len(before))
    pairs = [(axis, scale) for axis, scale in zip(axes, given, strict=True) if axis]  # without the batch
    return all(scale == after[axis] / before[axis] for axis, scale in pairs)


def _repeats(node: ir.Node, factor: int) -> bool:
    """Whether taking the nearest pixel means to repeat every pixel ``factor`` times."""
    where = attribute(node, "coordinate_transformation_mode", "half_pixel")
    rounding = attribute(node, "nearest_mode", "round_prefer_floor")
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    if scales is not None and scales.is_initializer():
        given = [float(scale) for scale in array_of(scales)][-2:]  # height and width come last
        if given not in ([], [factor, factor]):  # places follow from the scale given, not from the sizes
            return False
    if where == "asymmetric":  # ⌊i / factor⌋
        return rounding == "floor" or factor == 1
    # (i + 1/2) / factor − 1/2 is less than 1/2 from its pixel, so any rounding to the nearest is right.
    return bool(where == "half_pixel" and rounding.startswith("round_prefer"))


WRITERS: dict[str, Emit] = {"Resize": resize}
