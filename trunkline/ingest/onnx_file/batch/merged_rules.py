"""Let operators work on a value that has more axes than in the file, because the file merges its batch with others.

An operator that works along other axes only, or on each number by itself, computes the same. Its settings name axes of
the file; here they become axes of the Graph. What works along the merged axis mixes images and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import put, set_input, static
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis
from trunkline.ingest.onnx_file.batch.freeing import Freeing, batch_error, merged_text
from trunkline.ingest.onnx_file.batch.merged_operands import ELEMENTWISE, align
from trunkline.ingest.onnx_file.batch.merged_products import batch_normalization, einsum, gemm, matmul
from trunkline.ingest.onnx_file.batch.merged_windows import WINDOWS, windows

Rule = Callable[[ir.Node, Freeing, BatchAxis], BatchAxis]
"""Rewrites a node whose first input merges the batch, and returns where its results merge it."""


def work_apart(node: ir.Node, state: Freeing) -> BatchAxis:
    """Rewrite ``node``, which reads values that have more axes than in the file; return where its results merge them.

    Raises:
        InvalidModel: It works along the merged axis, or is none of the operators that are known not to.
    """
    if node.op_type in ELEMENTWISE:
        return align(node, state)
    rule = RULES.get(node.op_type)
    data = node.inputs[0]
    axis = None if data is None else state.merged.get(data)
    if rule is None or (axis is None and node.op_type not in ("Einsum", "MatMul")):
        which = next(found for value in node.inputs if value is not None and (found := state.merged.get(value)))
        raise batch_error(node, f"works on a value for which the file merges {merged_text(which)}")
    return rule(node, state, axis or BatchAxis(0))


def axis_in_graph(node: ir.Node, state: Freeing, axis: BatchAxis, along: int) -> int:
    """Return where the axis ``along`` of the file's first input is in the Graph."""
    data = node.inputs[0]
    assert data is not None
    along %= state.rank(data)
    if along == axis.axis:
        raise batch_error(node, f"works along an axis for which the file merges {merged_text(axis)}: it mixes images")
    return axis.other(along)


def _along(default: int) -> Rule:
    """Return the rule of operators that work along the axis of an attribute."""

    def rule(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
        put(node, "axis", axis_in_graph(node, state, axis, attribute(node, "axis", default)))
        return axis

    return rule


def _along_input(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    along = static(node, 1)
    if along is None:
        raise batch_error(node, "works along an axis that is not stored")
    _set(node, state, 1, "axis", np.int64(axis_in_graph(node, state, axis, int(along.ravel()[0]))))
    return axis


def _layer(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    first = axis_in_graph(node, state, axis, attribute(node, "axis", -1))
    if first < axis.place:  # from there on it works along every axis, the batch too
        raise batch_error(node, f"works along an axis for which the file merges {merged_text(axis)}: it mixes images")
    put(node, "axis", first)
    return axis


def _extremum_place(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    along = axis_in_graph(node, state, axis, attribute(node, "axis", 0))
    put(node, "axis", along)
    return axis if attribute(node, "keepdims", 1) else _without(axis, [along])


def _reduce(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    along = _axes_input(node, state, axis, 1)
    return axis if attribute(node, "keepdims", 1) else _without(axis, along)


def _squeeze(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    return _without(axis, _axes_input(node, state, axis, 1))


def _without(axis: BatchAxis, gone: list[int]) -> BatchAxis:
    """Return where the merged axis is once the axes ``gone`` of the Graph's value are."""
    in_front = [place for place in gone if place < axis.place]
    return axis.at(axis.axis - len(in_front))


def _concat(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    if any(value is None or state.of(value) != axis for value in node.inputs):
        raise batch_error(node, "joins values whose batches are merged differently")
    put(node, "axis", axis_in_graph(node, state, axis, attribute(node, "axis")))
    return axis


def _unsqueeze(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    data, new = node.inputs[0], static(node, 1)
    if new is None or data is None:
        raise batch_error(node, "adds axes that are not stored")
    rank = state.rank(data) + new.size
    added = {int(place) % rank for place in new.ravel()}
    kept = [place for place in range(rank) if place not in added]
    result = axis.at(kept[axis.axis])
    _set(node, state, 1, "axes", [result.other(place) for place in sorted(added)])
    return result


def _slice(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    _axes_input(node, state, axis, 3)
    return axis


def _gather(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    along = axis_in_graph(node, state, axis, attribute(node, "axis", 0))
    put(node, "axis", along)
    indices = node.inputs[1]
    assert indices is not None
    if along > axis.place:
        return axis
    # The axes of the indices come in the place of the one that they pick from.
    return axis.at(axis.axis - 1 + len(shape_of(indices)))


def _transpose(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    perm = attribute(node, "perm")
    put(node, "perm", axis.order(perm))
    return axis.at(perm.index(axis.axis))


def _pad(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    pads = static(node, 1)
    if pads is None:
        raise batch_error(node, "pads by sizes that are not stored")
    ends = pads.reshape(2, -1)
    if ends[:, axis.axis].any():
        raise batch_error(node, "mixes the images of a batch")
    apart = np.insert(ends, [axis.axis] * axis.extra, 0, axis=1)
    _set(node, state, 1, "pads", apart.ravel())
    return axis


def _tile(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    times = static(node, 1)
    if times is None or times.ravel()[axis.axis] != 1:
        raise batch_error(node, "repeats the images of a batch")
    _set(node, state, 1, "repeats", axis.ones([int(count) for count in times.ravel()]))
    return axis


def _expand(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    """Name 1 in the place of the merged axis: by ONNX's text it keeps the input's sizes, and the batch is there."""
    data, sizes = node.inputs[0], [size or 1 for size in shape_of(node.outputs[0])]
    assert data is not None
    result = axis.at(axis.axis + len(sizes) - state.rank(data))
    _set(node, state, 1, "shape", result.ones(sizes))
    return result


def _axes_input(node: ir.Node, state: Freeing, axis: BatchAxis, index: int) -> list[int]:
    """Rewrite the input ``index``, which lists axes of the file, and return those of the Graph."""
    named = static(node, index)
    if named is None:
        raise batch_error(node, "works along axes that are not stored")
    places = [axis_in_graph(node, state, axis, int(along)) for along in named.ravel()]
    _set(node, state, index, "axes", places)
    return places


def _set(node: ir.Node, state: Freeing, index: int, what: str, content: object) -> None:
    set_input(node, index, state.editor.constant(f"{name_of(node)}.{what}", content, np.int64))


def _all(operators: Iterable[str], rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(operators, rule)


RULES: Mapping[str, Rule] = {
    **_all(("Hardmax", "LogSoftmax", "LpNormalization", "Softmax"), _along(-1)),
    **_all(("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"), _reduce),
    **_all(("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"), _reduce),
    **_all(("ArgMax", "ArgMin"), _extremum_place),
    **_all(WINDOWS, windows),
    "BatchNormalization": batch_normalization,
    "Concat": _concat,
    "CumSum": _along_input,
    "Einsum": einsum,
    "Expand": _expand,
    "Gather": _gather,
    "Gemm": gemm,
    "LayerNormalization": _layer,
    "MatMul": matmul,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _along(0),
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""Rules by operator, but for those that work number by number and those that reshape."""
