"""Attention of opset 23 and later, as two products and a softmax (Vaswani et al. 2017, section 3.2.1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Shape, attribute, name_of, shape_of
from trunkline.graph.passes.editor import Editor, input_at, static
from trunkline.ingest.onnx_file.adapters.decompose import become, step, store_ints, store_number
from trunkline.ingest.onnx_file.adapters.registry import since, unsupported_form
from trunkline.text import shape_text

_MASKED = float(np.finfo(np.float32).min)
"""Added to a score that must not count: its exponential is 0, and a gradient through it is not NaN, as with −∞."""
Truths = np.ndarray[Any, np.dtype[np.bool_]]

_HEADS_SECOND = [0, 2, 1, 3]


@since(23, "Attention")
def attention(node: ir.Node, editor: Editor) -> None:
    """Write Attention as softmax(scale · q · kᵀ + mask) · v, for each head."""
    _refuse_others(node)
    sources = [input_at(node, index) for index in range(3)]
    query, key, value = (source for source in sources if source is not None)
    is_flat = len(shape_of(query)) == 3
    if is_flat:  # [N, L, heads · d]; with four axes, [N, heads, L, d]
        heads = [attribute(node, name, 0) for name in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
        query, key, value = (_parted(node, editor, *pair) for pair in zip((query, key, value), heads, strict=True))
    _check(node, query, key, value)
    key, value = (_for_each_query_head(node, editor, shared, query) for shared in (key, value))
    scores = _scores(node, editor, query, key)
    weights = step(node, editor, "Softmax", [_masked(node, editor, scores)], axis=-1)
    if not is_flat:
        become(node, "MatMul", [weights, value])
        return
    turned = step(node, editor, "Transpose", [step(node, editor, "MatMul", [weights, value])], perm=_HEADS_SECOND)
    become(node, "Reshape", [turned, store_ints(node, editor, "joined", [0, 0, -1])], allowzero=0)


def _refuse_others(node: ir.Node) -> None:
    data = input_at(node, 0)
    if data is None or data.dtype != ir.DataType.FLOAT:
        raise unsupported_form(node, "another precision than float32", "give the network in float32")
    if any(input_at(node, index) is not None for index in (4, 5, 6)):
        raise unsupported_form(node, "a cache of keys and values", "export the network for whole images")
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        raise unsupported_form(node, "a second output in use", "only the result itself can be said")
    if attribute(node, "softmax_precision", 1) != 1:
        raise unsupported_form(
            node, f"softmax_precision {attribute(node, 'softmax_precision')}", "float32 (1) can be said"
        )
    for index in range(len(node.outputs) - 1, 0, -1):
        node.resize_outputs(index)


def _check(node: ir.Node, query: ir.Value, key: ir.Value, value: ir.Value) -> None:
    """Raise :class:`InvalidModel` unless the three ``[N, heads, L, d]`` fit; query heads may share those of keys."""
    shapes = [shape_of(each) for each in (query, key, value)]
    if _fit(*shapes):
        return
    text = "Attention: queries {}, keys {} and values {} do not fit".format(*map(list, shapes))
    raise InvalidModel(text, place=name_of(node))


def _fit(query: Shape, key: Shape, value: Shape) -> bool:
    if any(len(shape) != 4 for shape in (query, key, value)):
        return False
    has_widths = query[3] == key[3]
    has_pairs = key[1:3] == value[1:3]
    return has_widths and has_pairs and (query[1] or 0) % (key[1] or 1) == 0


def _parted(node: ir.Node, editor: Editor, value: ir.Value, heads: int) -> ir.Value:
    """Turn ``[N, L, heads · d]`` into ``[N, heads, L, d]``."""
    if heads < 1 or len(shape_of(value)) != 3 or (shape_of(value)[2] or 0) % heads:
        raise InvalidModel(f"Attention: {heads} heads of {shape_text(shape_of(value))}", place=name_of(node))
    apart = step(node, editor, "Reshape", [value, store_ints(node, editor, "heads", [0, 0, heads, -1])], allowzero=0)
    return step(node, editor, "Transpose", [apart], perm=_HEADS_SECOND)


def _for_each_query_head(node: ir.Node, editor: Editor, value: ir.Value, query: ir.Value) -> ir.Value:
    """Repeat keys or values that several heads of queries share (Ainslie et al. 2023): each head, then the next one."""
    _, heads, length, width = (size or 1 for size in shape_of(value))
    wanted = shape_of(query)[1] or 1
    if heads == wanted:
        return value
    apart = step(node, editor, "Unsqueeze", [value, store_ints(node, editor, "group_axis", [2])])
    repeated = step(node, editor, "Expand", [apart, store_ints(node, editor, "groups", [1, 1, wanted // heads, 1, 1])])
    joined = store_ints(node, editor, "shared", [0, wanted, length, width])
    return step(node, editor, "Reshape", [repeated, joined], allowzero=0)


def _scores(node: ir.Node, editor: Editor, query: ir.Value, key: ir.Value) -> ir.Value:
    scale = attribute(node, "scale", 0.0) or 1 / math.sqrt(shape_of(query)[3] or 1)
    turned = step(node, editor, "Transpose", [key], perm=[0, 1, 3, 2])
    scaled = step(node, editor, "Mul", [query, store_number(node, editor, "scale", scale)])
    scores = step(node, editor, "MatMul", [scaled, turned])
    cap = attribute(node, "softcap", 0.0)
    if not cap:  # ONNX: 0 is none
        return scores
    bound = store_number(node, editor, "softcap", cap)
    divided = step(node, editor, "Div", [scores, bound])
    return step(node, editor, "Mul", [step(node, editor, "Tanh", [divided]), bound])


def _masked(node: ir.Node, editor: Editor, scores: ir.Value) -> ir.Value:
    mask = input_at(node, 3)
    if mask is not None:
        last = shape_of(mask)[-1:]
        if last and last[0] not in (1, shape_of(scores)[3]):  # ONNX lets a mask be shorter than the keys
            raise unsupported_form(node, f"a mask {shape_text(shape_of(mask))} for fewer keys", "give it for all keys")
        if mask.dtype == ir.DataType.BOOL:
            mask = _added(node, editor, "mask", static(node, 3))
        scores = step(node, editor, "Add", [scores, mask])
    rows, columns = (size or 1 for size in shape_of(scores)[2:])
    near = _near(node, rows, columns)
    if near.all():
        return scores
    return step(node, editor, "Add", [scores, _added(node, editor, "near", near)])


def _near(node: ir.Node, rows: int, columns: int) -> Truths:
    """Return which keys each query may look at, by how far they are before or behind it."""
    behind = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    left, right = attribute(node, "left_window_size", -1), attribute(node, "right_window_size", -1)
    # A negative window is none: it has no end on that side.
    is_near = (behind >= -left) | (left < 0)
    is_near &= (behind <= right) | (right < 0)
    if attribute(node, "is_causal", 0):
        is_near &= behind <= 0
    return np.asarray(is_near)


def _added(node: ir.Node, editor: Editor, name: str, counts: Truths | None) -> ir.Value:
    """Return what is added to the scores so that only the keys that count have a weight."""
    if counts is None:
        raise unsupported_form(node, "a mask of truth values that is computed", "give a mask of numbers to add")
    if not counts.any(axis=-1).all():  # a softmax of nothing: NaN by −∞, and by a finite bias the mean of all values
        raise unsupported_form(node, "a query for which no key counts", "leave it out")
    return store_number(node, editor, name, np.where(counts, 0.0, _MASKED))
