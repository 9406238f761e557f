"""Padding that wraps around, as Slice and Concat."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import Editor, input_at, static
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, sizes_of, step, store_ints
from trunkline.ingest.onnx_file.adapters.registry import since, unsupported_form


@since(19, "Pad")
def pad_19(node: ir.Node, editor: Editor) -> None:
    """Write mode wrap out: what lies beyond one end of an axis is taken from its other end."""
    if attribute(node, "mode") != "wrap":
        return
    value, sizes = data_of(node), sizes_of(node)
    for axis, begin, end in _pads(node, len(sizes)):
        first, last = max(0, -begin), sizes[axis] + min(0, end)  # negative pads cut before the rest wraps
        if max(begin, end) > last - first or first >= last:
            raise unsupported_form(node, f"mode wrap by {begin} and {end} on an axis of {sizes[axis]}", "pad by less")
        if last - first < sizes[axis]:
            value = _part(node, editor, value, axis, first, last)
        value = _wrapped(node, editor, value, axis, last - first, max(0, begin), max(0, end))
    become(node, "Identity", [value])


def _pads(node: ir.Node, rank: int) -> list[tuple[int, int, int]]:
    """Return axis, begin and end of each axis that changes."""
    pads, axes = static(node, 1), static(node, 3)
    if pads is None or (axes is None and input_at(node, 3) is not None):
        raise unsupported_form(
            node, "mode wrap by pads that are computed from the image", "export with pads as constants"
        )
    numbers = [axis % rank for axis in axes.ravel().tolist()] if axes is not None else list(range(rank))
    if pads.size != 2 * len(numbers):
        raise InvalidModel(f"Pad: {pads.size} pads for {len(numbers)} axes", place=name_of(node))
    begins, ends = pads.ravel()[: len(numbers)].tolist(), pads.ravel()[len(numbers) :].tolist()
    return [(axis, b, e) for axis, b, e in zip(numbers, begins, ends, strict=True) if b or e]


def _wrapped(node: ir.Node, editor: Editor, value: ir.Value, axis: int, size: int, begin: int, end: int) -> ir.Value:
    parts = [value]
    if begin:
        parts.insert(0, _part(node, editor, value, axis, size - begin, size))
    if end:
        parts.append(_part(node, editor, value, axis, 0, end))
    return value if len(parts) == 1 else step(node, editor, "Concat", parts, axis=axis)


def _part(node: ir.Node, editor: Editor, value: ir.Value, axis: int, first: int, last: int) -> ir.Value:
    names = ("first", "last", "axis", "step")
    settings = [store_ints(node, editor, name, [n]) for name, n in zip(names, (first, last, axis, 1), strict=True)]
    return step(node, editor, "Slice", [value, *settings])
