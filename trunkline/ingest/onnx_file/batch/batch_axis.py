"""Find out whether a node works on every image of a batch by itself.

Shapes show it where the batch axis is lost or doubled. The operators here keep the shape and mix the images
nevertheless, if the axis they work along is the batch's, or if the batch is not where they expect it: first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from trunkline.graph.graph import attribute, shape_of
from trunkline.graph.passes.editor import input_at, static

Rule = Callable[[ir.Node, int, int], bool]
"""Whether a node mixes images, given its first input's rank and batch axis."""


def mixes_images(node: ir.Node) -> bool:
    """Whether ``node``, whose inputs have free batch axes, lets images of a batch influence each other."""
    if node.op_type == "Einsum":  # the only one whose other inputs name axes too
        return _einsum(node)
    rule, data = _RULES.get(node.op_type), input_at(node, 0)
    if rule is None or data is None:
        return False
    axis = batch_axis(data)
    return axis is not None and rule(node, len(shape_of(data)), axis)


def batch_axis(value: ir.Value) -> int | None:
    """Return which axis of ``value`` is the batch, or ``None`` where it is the same for all images."""
    shape = shape_of(value)
    return shape.index(None) if None in shape else None


def _not_first(node: ir.Node, rank: int, axis: int) -> bool:
    return axis != 0


def _along(default: int) -> Rule:
    return lambda node, rank, axis: attribute(node, "axis", default) % rank == axis


def _along_all_from(node: ir.Node, rank: int, axis: int) -> bool:
    return bool(axis >= attribute(node, "axis", -1) % rank)


# A setting that is not stored may name the batch: these rules answer yes then.


def _along_input(node: ir.Node, rank: int, axis: int) -> bool:
    along = static(node, 1)
    return along is None or int(along.ravel()[0]) % rank == axis


def _along_any(node: ir.Node, rank: int, axis: int) -> bool:
    return axis in [along % rank for along in attribute(node, "axes", [0, 2, 3])]


def _backwards(node: ir.Node, rank: int, axis: int) -> bool:
    axes, steps = static(node, 3), static(node, 4)
    if axes is None or steps is None:
        return True
    pairs = zip(axes.ravel(), steps.ravel(), strict=True)
    # Every other image, or the images backwards: that image n is read from another one does not show in the shape.
    return any(int(along) % rank == axis and int(step) != 1 for along, step in pairs)


def _shifts(node: ir.Node, rank: int, axis: int) -> bool:
    pads = static(node, 1)
    return pads is None or bool(pads.ravel()[axis]) or bool(pads.ravel()[axis + rank])


def _by_places(node: ir.Node, rank: int, axis: int) -> bool:
    """Whether the batch is among the axes that the places of a GatherND or ScatterND name."""
    # They name the axes behind batch_dims, as many as their last axis has numbers; what follows is taken whole.
    first, places = int(attribute(node, "batch_dims", 0)), input_at(node, 1)
    named = None if places is None else shape_of(places)[-1]
    return named is None or first <= axis < first + named


def _einsum(node: ir.Node) -> bool:
    """Whether a sum goes over images, or combines them with each other.

    It does not if the batch goes by one letter in all terms, and the result has that letter too.
    """
    terms, arrow, result = attribute(node, "equation", "").replace(" ", "").partition("->")
    letters = set()
    for term, value in zip(terms.split(","), node.inputs, strict=True):
        axis = None if value is None else batch_axis(value)
        if axis is None:
            continue
        # Behind "..." letters are counted from the end, so which one is the batch's is not followed.
        is_named = "..." not in term[: axis + 3]
        letters.add(term[axis : axis + 1] if is_named else "")
    is_one_letter = len(letters) <= 1 and letters <= set(result)
    return not (is_one_letter and arrow)


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(
        [
            *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool"),
            *("GlobalLpPool", "GlobalMaxPool", "GridSample", "GroupNormalization", "InstanceNormalization", "LRN"),
            *("LpPool", "MaxPool", "MaxUnpool", "Resize", "SpaceToDepth"),
        ],
        _not_first,
    ),
    **dict.fromkeys(["Hardmax", "LogSoftmax", "LpNormalization", "Softmax"], _along(-1)),
    **dict.fromkeys(["Gather", "GatherElements", "ScatterElements"], _along(0)),
    **dict.fromkeys(["LayerNormalization", "RMSNormalization"], _along_all_from),
    **dict.fromkeys(["GatherND", "ScatterND"], _by_places),
    "CumSum": _along_input,
    "MeanVarianceNormalization": _along_any,
    "Pad": _shifts,
    "Slice": _backwards,
}
