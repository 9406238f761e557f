"""Upsample and Resize: where the sizes stand, and which pixel an old file meant."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.ingest.graph import attribute, name_of
from trunkline.ingest.onnx_file.adapters.registry import before, refuse
from trunkline.ingest.passes.edit import Editor, input_at, pop, put, set_input, static


@before(10, "Upsample")
def upsample(node: ir.Node, editor: Editor) -> None:
    """Upsample is Resize in asymmetric coordinates; its scales were an attribute before opset 9."""
    scales = pop(node, "scales")
    if scales is not None:
        set_input(node, 1, editor.constant(f"{name_of(node)}.scales", scales, np.float32))
    node.op_type = "Resize"
    if attribute(node, "mode") == "bilinear":
        put(node, "mode", "linear")
    _asymmetric(node)


@before(11, "Resize")
def resize_10(node: ir.Node, editor: Editor) -> None:
    """Opset 10 had no coordinate modes: asymmetric, rounding towards the image's inside."""
    _asymmetric(node)


@before(13, "Resize")
def resize_11(node: ir.Node, editor: Editor) -> None:
    """Opset 11 had one coordinate mode that opset 13 dropped: half_pixel, half a pixel further."""
    if attribute(node, "coordinate_transformation_mode") != "tf_half_pixel_for_nn":
        return
    if (attribute(node, "mode", "nearest"), attribute(node, "nearest_mode")) != ("nearest", "floor"):
        raise refuse(node, "tf_half_pixel_for_nn that is not nearest, rounded down", "export with opset_version=18")
    put(node, "coordinate_transformation_mode", "half_pixel")
    put(node, "nearest_mode", "round_prefer_ceil")


@before(11, "Resize")
@before(10, "Upsample")
def scales_third(node: ir.Node, editor: Editor) -> None:
    """The scales move from the second input to the third."""
    scales = input_at(node, 1)
    set_input(node, 2, scales)
    set_input(node, 1, None)


def _asymmetric(node: ir.Node) -> None:
    scales = static(node, 1)
    if scales is None:
        raise refuse(node, "a scale that is computed from the image", "fix the image size with --input-size H,W")
    if not np.isfinite(scales).all():
        raise InvalidModel(f"{node.op_type}: scales {scales.tolist()}", place=name_of(node))
    smaller, larger = bool((scales < 1).any()), bool((scales > 1).any())
    if smaller and larger and attribute(node, "mode", "nearest") == "nearest":
        raise refuse(node, "nearest that enlarges one axis and shrinks another", "export with opset_version=18")
    put(node, "coordinate_transformation_mode", "asymmetric")
    put(node, "nearest_mode", "ceil" if smaller else "floor")
