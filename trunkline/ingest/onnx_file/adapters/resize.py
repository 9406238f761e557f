"""Upsample and Resize of older opsets: where they keep their sizes, and which pixels they read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import Editor, input_at, pop, put, set_input, static
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, sizes_of, step, store_ints
from trunkline.ingest.onnx_file.adapters.registry import before, unsupported_form

_ANY_OPSET = 1_000

Pixels = np.ndarray[Any, np.dtype[np.int64]]


@before(10, "Upsample")
def upsample(node: ir.Node, editor: Editor) -> None:
    """Write Upsample as a Resize in asymmetric coordinates."""
    scales = pop(node, "scales")
    if scales is not None:  # an attribute before opset 9
        set_input(node, 1, editor.constant(f"{name_of(node)}.scales", scales, np.float32))
    node.op_type = "Resize"
    if attribute(node, "mode") == "bilinear":
        put(node, "mode", "linear")
    _asymmetric(node)


@before(11, "Resize")
def resize_10(node: ir.Node, editor: Editor) -> None:
    """Name the coordinate mode that opset 10 had alone: asymmetric."""
    _asymmetric(node)


@before(_ANY_OPSET, "Resize")
def resize_11(node: ir.Node, editor: Editor) -> None:
    """Write mode tf_half_pixel_for_nn as half_pixel: opset 13 dropped it, and files of later opsets still hold it.

    It reads the pixel that contains the middle of the new one, which is half_pixel's nearest. Where that middle lies
    on the border of two pixels but for a rounding error, runtimes round in half_pixel and not in the old mode: there
    the pixels are named one by one.
    """
    if attribute(node, "coordinate_transformation_mode") != "tf_half_pixel_for_nn":
        return
    if attribute(node, "mode", "nearest") != "nearest" or attribute(node, "nearest_mode") != "floor":
        raise unsupported_form(
            node, "tf_half_pixel_for_nn that is not nearest, rounded down", "export with opset_version=18"
        )
    put(node, "coordinate_transformation_mode", "half_pixel")
    put(node, "nearest_mode", "round_prefer_ceil")
    picked = {axis: places for axis, places in enumerate(_half_pixels(node)) if places is not None}
    if all(np.array_equal(floored, rounded) for floored, rounded in picked.values()):
        return
    value = data_of(node)
    for axis, (floored, _) in picked.items():
        value = step(node, editor, "Gather", [value, store_ints(node, editor, "pixels", floored.tolist())], axis=axis)
    become(node, "Identity", [value])


def _half_pixels(node: ir.Node) -> Iterator[tuple[Pixels, Pixels] | None]:
    """Yield for each axis the pixels that both modes read, ``None`` where the axis stays; in single precision."""
    sources, scales, sizes = sizes_of(node), static(node, 2), static(node, 3)
    by_size = scales is None or not scales.size
    wanted = sizes if by_size else scales
    if wanted is None or wanted.size != len(sources):
        raise unsupported_form(
            node, "tf_half_pixel_for_nn to a size that is not stored", "fix the image size: --input-size H,W"
        )
    for source, number in zip(sources, wanted.ravel().tolist(), strict=True):
        scale = np.float32(number / source if by_size else number)
        target = int(number) if by_size else int(np.float32(source) * scale)
        middles = (np.arange(target, dtype=np.float32) + np.float32(0.5)) / scale
        floored, rounded = np.floor(middles), np.floor(middles + np.float32(1e-6))
        pixels = [np.clip(place, 0, source - 1).astype(np.int64) for place in (floored, rounded)]
        yield None if target == source else (pixels[0], pixels[1])


@before(11, "Resize")
@before(10, "Upsample")
def scales_third(node: ir.Node, editor: Editor) -> None:
    """Move the scales from the second input to the third: opset 11 put the region of interest between."""
    scales = input_at(node, 1)
    set_input(node, 2, scales)
    set_input(node, 1, None)


def _asymmetric(node: ir.Node) -> None:
    scales = static(node, 1)
    if scales is None:
        raise unsupported_form(
            node, "a scale that is computed from the image", "fix the image size with --input-size H,W"
        )
    if not np.isfinite(scales).all():
        raise InvalidModel(f"{node.op_type}: scales {scales.tolist()}", place=name_of(node))
    smaller, larger = bool((scales < 1).any()), bool((scales > 1).any())
    # Runtimes round up where an old Resize shrinks and down where it enlarges; opset 18 has one mode for all axes.
    if smaller and larger and attribute(node, "mode", "nearest") == "nearest":
        raise unsupported_form(
            node, "nearest that enlarges one axis and shrinks another", "export with opset_version=18"
        )
    put(node, "coordinate_transformation_mode", "asymmetric")
    put(node, "nearest_mode", "ceil" if smaller else "floor")
