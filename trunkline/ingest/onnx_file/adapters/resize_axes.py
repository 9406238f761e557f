"""Settle the size of a Resize of any opset, and refuse what ONNX and its runtimes do not agree on."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import Editor, put, set_input, static
from trunkline.ingest.onnx_file.adapters.decompose import sizes_of, store_ints
from trunkline.ingest.onnx_file.adapters.registry import since, unsupported_form

_MODE = "coordinate_transformation_mode"
_POLICY = "keep_aspect_ratio_policy"
_CROP = "tf_crop_and_resize"
_DISAGREE = "ONNX's definition and its runtimes do not agree on it: give the sizes, or scales that divide evenly"

Array = np.ndarray[Any, Any]


@since(7, "Resize", "Upsample")
def resize(node: ir.Node, editor: Editor) -> None:
    """Bring ``keep_aspect_ratio_policy`` and ``half_pixel_symmetric`` to what opset 18 has for any batch."""
    scales, sizes = static(node, 2), static(node, 3)
    if scales is not None and scales.size:
        _settle_scales(node, scales.astype(np.float32).ravel())
    elif sizes is not None and sizes.size:
        _settle_sizes(node, editor, sizes.ravel().tolist())
    if attribute(node, _MODE) == "half_pixel_symmetric":
        raise unsupported_form(node, "half_pixel_symmetric with uneven scales", "use half_pixel, or give the sizes")


def _settle_scales(node: ir.Node, scales: Array) -> None:
    """Settle a Resize by scales, whose result has ⌊size · scale⌋ places along each axis.

    1. The aspect ratio is about sizes only.
    2. Where scales divide evenly, half_pixel_symmetric is half_pixel.

    Refused is what ONNX's definition and its runtimes do not agree on:

    3. a scale that is not 1 and leaves the size as it is;
    4. a region of interest, unless it is the whole image and all scales divide evenly;
    5. with scales that do not, align_corners, and pytorch_half_pixel where one pixel is left.
    """
    if attribute(node, _POLICY):  # rule 1
        put(node, _POLICY, "stretch")
    before = np.array([sizes_of(node)[axis] for axis in _axes(node, len(scales))], np.float32)
    exact = before * scales
    after = np.floor(exact)
    is_even = bool((exact == after).all())
    if is_even and attribute(node, _MODE) == "half_pixel_symmetric":  # rule 2
        put(node, _MODE, "half_pixel")
    stays = (after == before) & (np.abs(exact - before) > 1e-3)
    if stays.any() and (attribute(node, "antialias", 0) or (after == before).all()):  # rule 3
        raise unsupported_form(node, "a scale that leaves the size as it is", _DISAGREE)
    mode = attribute(node, _MODE)
    if mode == _CROP:  # rule 4
        takes_all = _region(node, len(scales)) == [(0.0, 1.0)] * len(scales)
        if not is_even or not takes_all:
            raise unsupported_form(node, f"{_CROP} with scales", _DISAGREE)
    leaves_one = bool((after[exact != after] == 1).any())
    if not is_even and (mode == "align_corners" or (mode == "pytorch_half_pixel" and leaves_one)):  # rule 5
        raise unsupported_form(node, f"{mode} with scales that do not divide evenly", _DISAGREE)


def _settle_sizes(node: ir.Node, editor: Editor, sizes: list[int]) -> None:
    """Settle a Resize to sizes. A kept aspect ratio is one scale for all axes: the sizes that it gives are named."""
    before = [sizes_of(node)[axis] for axis in _axes(node, len(sizes))]
    policy = attribute(node, _POLICY, "stretch")
    if policy in ("not_larger", "not_smaller"):
        fits = [size / source for size, source in zip(sizes, before, strict=True)]
        scale = min(fits) if policy == "not_larger" else max(fits)
        kept = [int(scale * source + 0.5) for source in before]
        # Pixels are read by the common scale; rounded sizes would mean another one on each axis.
        if any(scale * source != size for source, size in zip(before, kept, strict=True)):
            return
        put(node, _POLICY, "stretch")
        set_input(node, 3, store_ints(node, editor, "sizes", kept))
    if attribute(node, _MODE) == "half_pixel_symmetric":
        put(node, _MODE, "half_pixel")
    if attribute(node, _MODE) != _CROP:
        return
    rows = zip(before, sizes, _region(node, len(sizes)), strict=True)
    if any(size == source and region != (0.0, 1.0) for source, size, region in rows):
        raise unsupported_form(node, f"{_CROP} that keeps the size of a cropped axis", "crop with Slice first")


def _region(node: ir.Node, count: int) -> list[tuple[float, float]]:
    region = static(node, 1)
    if region is None or region.size != 2 * count:
        raise InvalidModel(f"Resize: no stored region of {count} starts and {count} ends", place=name_of(node))
    edges = region.ravel().tolist()
    return list(zip(edges[:count], edges[count:], strict=True))


def _axes(node: ir.Node, count: int) -> list[int]:
    rank = len(sizes_of(node))
    named = attribute(node, "axes") or list(range(rank))
    axes = [axis % rank for axis in named]
    if not all(-rank <= axis < rank for axis in named) or len(set(axes)) != len(axes) or len(axes) != count:
        text = f"Resize: {count} scales or sizes for axes {named} of {rank}"
        raise InvalidModel(text, place=name_of(node))
    return axes
