"""Products and normalisations on values that have more axes than in the file, which merges the batch with others."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters

import numpy as np
import onnx_ir as ir

from trunkline.graph.free_shapes import infer_free
from trunkline.graph.graph import Attribute, attribute, name_of, shape_of
from trunkline.graph.passes.editor import put
from trunkline.ingest.onnx_file.adapters.decompose import become
from trunkline.ingest.onnx_file.batch.batch_axis import batch_axis
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis
from trunkline.ingest.onnx_file.batch.freeing import Freeing, batch_error, merged_text
from trunkline.ingest.onnx_file.batch.merged_operands import common_axis, stand_beside


def matmul(node: ir.Node, state: Freeing, _: BatchAxis) -> BatchAxis:
    """Rewrite a MatMul: rows of one matrix may be merged with the batch, or the axes that count matrices."""
    left, right = node.inputs[0], node.inputs[1]
    assert left is not None and right is not None
    axis, from_end = common_axis(node, state, [left, right])
    ranks = [state.rank(value) for value in (left, right)]
    if from_end > 2 and min(ranks) > 1:  # the batch counts matrices, as it does for N·heads of them
        for index, value in enumerate((left, right)):
            if batch_axis(value) is None:
                stand_beside(node, index, state, axis, from_end)
        return axis.at(max(ranks) - from_end)
    # Rows of [N·L, C] times one matrix of weights: each row is multiplied on its own.
    is_row = from_end == 2 and batch_axis(right) is None and ranks[1] <= 2
    if not is_row:
        raise batch_error(node, f"sums along an axis for which the file merges {merged_text(axis)}, or counts with it")
    return axis


def gemm(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    """Rewrite a Gemm of merged rows as a MatMul over the last axis: a Gemm reads matrices of two axes only."""
    data, weight = node.inputs[0], node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    others = [value for value in (weight, bias) if value is not None]
    if data is None or weight is None or axis.axis != 0 or attribute(node, "transA", 0):
        raise batch_error(node, f"sums along an axis for which the file merges {merged_text(axis)}")
    if any(batch_axis(value) is not None for value in others):
        raise batch_error(node, "takes two values together that both have a batch")
    if bias is not None and len(shape_of(bias)) == 2 and shape_of(bias)[0] != 1:
        raise batch_error(
            node,
            f"adds other numbers to each row, of which the file makes one axis with the batch: {merged_text(axis)}",
        )
    _write_product(node, state, data, weight, bias)
    return axis


def _write_product(node: ir.Node, state: Freeing, data: ir.Value, weight: ir.Value, bias: ir.Value | None) -> None:
    """Write alpha · data · weight + beta · bias; the last of its operators is ``node``, and keeps its name."""
    if attribute(node, "transB", 0):
        weight = put_before(node, state, "Transpose", [weight], perm=[1, 0])
    steps = [("MatMul", weight)]
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    if alpha != 1.0:
        steps.append(("Mul", state.editor.constant(f"{name_of(node)}.alpha", np.float32(alpha))))
    if bias is not None and beta != 1.0:
        factor = state.editor.constant(f"{name_of(node)}.beta", np.float32(beta))
        bias = put_before(node, state, "Mul", [bias, factor])
    if bias is not None:
        steps.append(("Add", bias))
    for op, operand in steps[:-1]:
        data = put_before(node, state, op, [data, operand])
    last_op, last_operand = steps[-1]
    become(node, last_op, [data, last_operand])


def einsum(node: ir.Node, state: Freeing, _: BatchAxis) -> BatchAxis:
    """Rewrite an Einsum: the letter of the merged axis becomes one for each of its axes, in every term."""
    equation = str(attribute(node, "equation")).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    merged: list[tuple[str, BatchAxis]] = []
    for term, value in zip(terms.split(","), node.inputs, strict=True):
        found = None if value is None else state.of(value)
        if found is not None:
            merged.append((term[found.axis : found.axis + 1], found))
    letter, axis = merged[0]
    is_one_axis = len({(name, other.before, other.behind) for name, other in merged}) == 1
    # A term with that letter but no batch would have to be taken apart as well.
    is_everywhere = sum(letter in term for term in terms.split(",")) == len(merged)
    is_kept = bool(arrow) and "." not in equation and result.count(letter) == 1
    if not (is_one_axis and is_everywhere and is_kept):
        raise batch_error(node, f"sums along an axis for which the file merges {merged_text(axis)}, or counts with it")
    unused = iter([other for other in ascii_letters if other not in equation])
    before = next(unused) if axis.before > 1 else ""
    behind = next(unused) if axis.behind > 1 else ""
    put(node, "equation", equation.replace(letter, before + letter + behind))
    return axis.at(result.index(letter))


def batch_normalization(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    """Rewrite a BatchNormalization: its statistics per channel are the same over the batch and what is merged with it.

    Channels have to be the second axis, so the values are turned for it, and back.
    """
    data = node.inputs[0]
    if data is None or axis.axis != 0:
        raise batch_error(node, f"has channels for which the file merges {merged_text(axis)}")
    rank = len(shape_of(data))
    channel = axis.other(1)
    perm = [axis.place, channel, *(place for place in range(rank) if place not in (axis.place, channel))]
    turned = put_before(node, state, "Transpose", [data], perm=perm)
    normal = put_before(node, state, "BatchNormalization", [turned, *node.inputs[1:]], **plain_attributes(node))
    become(node, "Transpose", [normal], perm=np.argsort(perm).tolist())
    return axis


def put_before(
    node: ir.Node, state: Freeing, op: str, inputs: Sequence[ir.Value | None], **attributes: Attribute
) -> ir.Value:
    """Compute ``op`` before ``node`` and return its output, of known shape."""
    made = state.editor.before(node, op, inputs, attributes)
    infer_free(made)
    return made.outputs[0]


def plain_attributes(node: ir.Node) -> dict[str, Attribute]:
    """Return the attributes of ``node`` as plain values."""
    return {name: attribute(node, name) for name in node.attributes}
