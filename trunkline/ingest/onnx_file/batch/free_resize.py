"""Let a Resize name scales or spatial sizes instead of the batch's."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import Editor, put, set_input, static


def free_resize(node: ir.Node, editor: Editor) -> None:
    """Rewrite a Resize to sizes, which name the batch."""
    sizes = static(node, 3)
    data = node.inputs[0]
    assert data is not None
    if sizes is None or shape_of(data)[0] is not None:
        return
    if attribute(node, "keep_aspect_ratio_policy") != "stretch":
        text = "Resize: keep_aspect_ratio_policy is not supported with sizes"
        raise InvalidModel(text, place=name_of(node), advice="give the scales, or both sizes and stretch")
    before = [size or 1 for size in shape_of(data)]
    after = [1, *(size or 1 for size in shape_of(node.outputs[0])[1:])]
    named = [axis % len(before) for axis in attribute(node, "axes") or range(len(before))]
    node.attributes.pop("axes", None)
    scales = [np.float32(new / old) for new, old in zip(after, before, strict=True)]
    is_exact = all(float(scale) * old == new for scale, old, new in zip(scales, before, after, strict=True))
    if is_exact:  # a scale of 1 holds for any number of images
        set_input(node, 2, editor.constant(f"{name_of(node)}.scales", scales, np.float32))
        set_input(node, 3, None)
        _name_region(node, editor, named, list(range(len(before))))
        return
    # A scale that float32 cannot hold could round to another size: name the sizes, without the batch's.
    axes = [axis for axis in range(1, len(after)) if axis > 1 or after[axis] != before[axis]]
    put(node, "axes", axes)
    set_input(node, 3, editor.constant(f"{name_of(node)}.sizes", [after[axis] for axis in axes], np.int64))
    _name_region(node, editor, named, axes)


def _name_region(node: ir.Node, editor: Editor, named: list[int], axes: list[int]) -> None:
    """Give the region of interest of a Resize, which was given for the axes ``named``, for ``axes`` instead."""
    region = static(node, 1)
    if region is None or named == axes:
        return
    count = max(*named, *axes) + 1
    # An axis without a region has all of it: from 0 to 1, as ONNX counts it.
    whole = np.stack([np.zeros(count, np.float32), np.ones(count, np.float32)])
    whole[:, named] = region.reshape(2, -1)
    set_input(node, 1, editor.constant(f"{name_of(node)}.roi", whole[:, axes].ravel()))
