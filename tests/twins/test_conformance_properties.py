"""Properties: nodes made at random, at random opsets, read and computed by us and by onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from conformance.cases import Array, Case
from conformance.judge import by_onnxruntime
from conformance.ours import attempt

pytestmark = pytest.mark.properties

pytest.importorskip("onnxruntime")

SOME = settings(max_examples=60, deadline=None, derandomize=True)
OPSETS = st.integers(7, 26)
RNG = np.random.default_rng(0)
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def positive(shape: list[int]) -> Array:
    return (np.abs(RNG.standard_normal(shape)) + 0.1).astype(np.float32)


def integers(numbers: Any) -> Array:
    return np.asarray(numbers, dtype=np.int64)


def shapes(least: int = 1, most: int = 4) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 5), min_size=least, max_size=most)


def signed(data: st.DataObject, axes: list[int], rank: int) -> list[int]:
    return [axis - rank if data.draw(st.booleans()) else axis for axis in axes]


def some_axes(data: st.DataObject, rank: int, least: int = 0) -> list[int]:
    return data.draw(st.lists(st.integers(0, rank - 1), min_size=least, max_size=rank, unique=True))


def check(op: str, opset: int, operands: list[Array], **attributes: Any) -> None:
    """Whatever onnxruntime computes, we compute, or refuse."""
    names = [f"x{i}" for i in range(len(operands))]
    node = helper.make_node(op, names, ["y"], **attributes)
    case = Case("made", node, opset, dict(zip(names, operands, strict=True)), {"y": positive([1])})
    model = case.model(opset)
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None))
    results = by_onnxruntime(model, case)
    assume(results is not None and results["y"].size > 0)
    assert results is not None
    outcome = attempt(Case("made", node, opset, case.operands, results), opset)
    assert outcome.kind in ("pass", "refused"), outcome.detail


@SOME
@given(st.sampled_from(REDUCTIONS), OPSETS, shapes(), st.data())
def test_reductions(kind: str, opset: int, shape: list[int], data: st.DataObject) -> None:
    axes = signed(data, some_axes(data, len(shape)), len(shape)) if opset >= 11 else some_axes(data, len(shape))
    attributes: dict[str, Any] = {"keepdims": data.draw(st.integers(0, 1))}
    operands = [positive(shape)]
    if opset >= 18 or (kind == "Sum" and opset >= 13):
        attributes["noop_with_empty_axes"] = data.draw(st.integers(0, 1))
        operands.append(integers(axes))
    elif axes:
        attributes["axes"] = axes
    check(f"Reduce{kind}", opset, operands, **attributes)


@SOME
@given(st.integers(7, 26), shapes(), st.sampled_from(["constant", "reflect", "edge", "wrap"]), st.data())
def test_padding(opset: int, shape: list[int], mode: str, data: st.DataObject) -> None:
    assume(mode != "wrap" or opset >= 19)
    axes = some_axes(data, len(shape), 1) if opset >= 18 else list(range(len(shape)))
    pads = data.draw(st.lists(st.integers(-1, 3), min_size=2 * len(axes), max_size=2 * len(axes)))
    if opset < 11:
        check("Pad", opset, [positive(shape)], mode=mode, pads=pads)
        return
    operands = [positive(shape), integers(pads), np.array(0.5, np.float32)]
    check("Pad", opset, operands + ([integers(signed(data, axes, len(shape)))] if opset >= 18 else []), mode=mode)


@SOME
@given(st.integers(11, 26), shapes(), shapes(0, 2), st.data())
def test_gathering(opset: int, shape: list[int], picked: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    check("Gather", opset, [positive(shape), RNG.integers(-size, size, picked, dtype=np.int64)], axis=axis)
    places = [min(size, 2) for size in shape]
    check("GatherElements", opset, [positive(shape), RNG.integers(-size, size, places, dtype=np.int64)], axis=axis)
    depth = data.draw(st.integers(1, len(shape)))
    rows = np.stack([RNG.integers(-size, size, (2, 3)) for size in shape[:depth]], axis=-1)
    check("GatherND", max(opset, 12), [positive(shape), rows])


@SOME
@given(st.integers(18, 26), shapes(), st.sampled_from(["add", "mul", "max", "min"]), st.data())
def test_scattering(opset: int, shape: list[int], reduction: str, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    places = RNG.integers(-shape[axis], shape[axis], [min(size, 2) for size in shape], dtype=np.int64)
    operands = [positive(shape), places, positive(list(places.shape))]
    check("ScatterElements", opset, operands, axis=axis, reduction=reduction)
    depth = data.draw(st.integers(1, len(shape)))
    rows = np.stack([RNG.integers(-size, size, (2, 3)) for size in shape[:depth]], axis=-1)
    check("ScatterND", opset, [positive(shape), rows, positive([2, 3, *shape[depth:]])], reduction=reduction)


@SOME
@given(st.integers(12, 26), st.data())
def test_einstein_sums(opset: int, data: st.DataObject) -> None:
    letters = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True).map("".join)
    terms = data.draw(st.lists(letters, min_size=1, max_size=3))
    result = data.draw(st.lists(st.sampled_from(sorted(set("".join(terms)))), unique=True).map("".join))
    sizes = dict(zip("abcd", (2, 3, 4, 1), strict=True))
    check(
        "Einsum", opset, [positive([sizes[c] for c in term]) for term in terms], equation=f"{','.join(terms)}->{result}"
    )


@SOME
@given(st.data())
def test_attention(data: st.DataObject) -> None:
    """Heads apart or in the last axis, fewer of keys than of queries, masked by numbers, by truth, by place."""
    heads, shared = data.draw(st.sampled_from([(1, 1), (2, 2), (4, 2), (3, 1)]))
    length, keys, width, depth = (data.draw(st.integers(1, 4)) for _ in range(4))
    sizes = [(heads, length, width), (shared, keys, width), (shared, keys, depth)]
    attributes: dict[str, Any] = {"scale": data.draw(st.sampled_from([0.5, 2.0]))}
    if data.draw(st.booleans()):
        attributes["softcap"] = 1.5
    if data.draw(st.booleans()):
        attributes["is_causal"] = 1
    if data.draw(st.booleans()):
        operands = [RNG.standard_normal([2, *size]).astype(np.float32) for size in sizes]
    else:
        operands = [RNG.standard_normal([2, rows, n * d]).astype(np.float32) for n, rows, d in sizes]
        attributes |= {"q_num_heads": heads, "kv_num_heads": shared}
    mask = data.draw(st.sampled_from(["none", "numbers", "truths"]))
    if mask == "numbers":
        operands.append(RNG.standard_normal([length, keys]).astype(np.float32))
    elif mask == "truths":
        truths = RNG.random([length, keys]) < 0.5
        truths[:, 0] = True  # some key counts for every query
        operands.append(truths)
    check("Attention", 23, operands, **attributes)
