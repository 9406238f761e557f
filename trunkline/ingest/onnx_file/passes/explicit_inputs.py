"""Write down every static input that ONNX lets a file leave out: axes, steps and sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import Editor, input_at, pop, set_input, static


def complete_inputs(node: ir.Node, editor: Editor) -> None:
    """Add what is missing before the node's own shape is inferred.

    1. Squeeze: the axes.
    2. Slice: axes and steps.
    3. Split: the sizes.
    4. Pad: pads for all axes, none by name.
    5. Resize: no region of interest where none is used, and no empty scales.
    6. Reductions: the axes; one over no axes is an Identity.
    """
    step = _STEPS.get(node.op_type)
    if step is not None:
        step(node, editor)


def _squeeze(node: ir.Node, editor: Editor) -> None:
    if input_at(node, 1) is None:
        axes = [axis for axis, size in enumerate(_shape(node)) if size == 1]
        set_input(node, 1, editor.constant(f"{name_of(node)}.axes", axes, np.int64))


def _slice(node: ir.Node, editor: Editor) -> None:
    starts = static(node, 1)
    if starts is None:  # computed from the image: refused where shapes are inferred
        return
    if input_at(node, 3) is None:
        set_input(node, 3, editor.constant(f"{name_of(node)}.axes", np.arange(starts.size), np.int64))
    if input_at(node, 4) is None:
        set_input(node, 4, editor.constant(f"{name_of(node)}.steps", np.ones(starts.size), np.int64))


def _split(node: ir.Node, editor: Editor) -> None:
    parts = pop(node, "num_outputs", len(node.outputs))
    if input_at(node, 1) is not None:
        return
    shape, axis = _shape(node), attribute(node, "axis", 0)
    if not -len(shape) <= axis < len(shape) or parts != len(node.outputs):
        raise InvalidModel(f"Split into {parts} on axis {axis} of {len(shape)} axes", place=name_of(node))
    # ONNX: equal parts, rounded up, of which the last is smaller where they do not divide.
    part = -(-shape[axis] // parts)
    sizes = [max(0, min(part, shape[axis] - start * part)) for start in range(parts)]
    set_input(node, 1, editor.constant(f"{name_of(node)}.split", sizes, np.int64))


def _pad(node: ir.Node, editor: Editor) -> None:
    pads, axes = static(node, 1), static(node, 3)
    if pads is None or axes is None:
        return
    rank, count = len(_shape(node)), axes.size
    if pads.size != 2 * count or not all(-rank <= axis < rank for axis in axes.ravel()):
        raise InvalidModel(f"Pad: {pads.size} pads for axes {axes.tolist()} of {rank}", place=name_of(node))
    places = axes.ravel() % rank
    full = np.zeros(2 * rank, np.int64)
    full[places] = pads[:count]
    full[places + rank] = pads[count:]
    set_input(node, 1, editor.constant(f"{name_of(node)}.pads", full))
    set_input(node, 3, None)


def _reduce(node: ir.Node, editor: Editor) -> None:
    axes = static(node, 1)
    is_computed = axes is None and input_at(node, 1) is not None
    is_given = axes is not None and axes.size > 0
    if is_computed or is_given:
        return
    if not attribute(node, "noop_with_empty_axes", 0):
        axes = np.arange(len(_shape(node)))
        set_input(node, 1, editor.constant(f"{name_of(node)}.axes", axes, np.int64))
    elif node.op_type in _KEEP_EACH:
        set_input(node, 1, None)
        node.attributes.clear()
        node.op_type = "Identity"


def _resize(node: ir.Node, editor: Editor) -> None:
    if attribute(node, "coordinate_transformation_mode") != "tf_crop_and_resize":
        set_input(node, 1, None)  # ONNX: read in that mode only
    scales = static(node, 2)
    if scales is None:
        return
    # Opset 11 required the scales even beside sizes: exporters gave a tensor without numbers.
    if scales.size == 0:
        set_input(node, 2, None)
    elif not (np.isfinite(scales) & (scales > 0) & (scales < 2**20)).all():
        raise InvalidModel(f"Resize: scales {scales.tolist()}", place=name_of(node))


def _shape(node: ir.Node) -> list[int]:
    data = node.inputs[0]
    assert data is not None
    return [size or 0 for size in shape_of(data)]


_KEEP_EACH = frozenset({"ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"})
"""Over no axes these leave each number as it is; the others take its logarithm, its square or its absolute value."""

_OTHERS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceSumSquare")
_STEPS: Mapping[str, Callable[[ir.Node, Editor], None]] = {
    **{"Squeeze": _squeeze, "Slice": _slice, "Split": _split, "Pad": _pad, "Resize": _resize},
    **dict.fromkeys((*sorted(_KEEP_EACH), *_OTHERS), _reduce),
}
