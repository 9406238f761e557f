"""Pooling against Caffe's formula, written down window by window, through onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trunkline.errors import InvalidModel
from trunkline.graph.graph import shape_of
from trunkline.ingest.prototxt import parse_prototxt

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def caffe_windows(n: int, k: int, s: int, p: int, ceil: bool) -> list[tuple[int, int, int]]:
    """Start, end and divisor length of every window along one axis, by integers only."""
    steps = n + 2 * p - k
    count = (-(-steps // s) if ceil else steps // s) + 1
    if (count - 1) * s >= n + p:
        count -= 1
    windows = []
    for i in range(count):
        start, end = i * s - p, min(i * s - p + k, n + p)
        windows.append((max(start, 0), min(end, n), end - start))
    return windows


def caffe_pool(x: np.ndarray, kind: str, rows: list, columns: list) -> np.ndarray:
    out = np.empty((*x.shape[:2], len(rows), len(columns)), np.float64)
    for i, (top, bottom, high) in enumerate(rows):
        for j, (left, right, wide) in enumerate(columns):
            cells = x[:, :, top:bottom, left:right].astype(np.float64)
            out[:, :, i, j] = cells.max((2, 3)) if kind == "MAX" else cells.sum((2, 3)) / (high * wide)
    return out


def net(kind: str, size: tuple, kernel: tuple, stride: tuple, pad: tuple, extra: str) -> str:
    return f"""
        input: "x" input_shape {{ dim: 1 dim: 2 dim: {size[0]} dim: {size[1]} }}
        layer {{ name: "pool" type: "Pooling" bottom: "x" top: "y" pooling_param {{ pool: {kind} {extra}
          kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}
          pad_h: {pad[0]} pad_w: {pad[1]} }} }}"""


def run(graph, x: np.ndarray) -> np.ndarray:
    content = ir.to_proto(graph.model).SerializeToString()
    session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {graph.input.name: x})[0]


axis = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))


@pytest.mark.parity
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["MAX", "AVE"]), axis, axis, st.booleans())
def test_pooling_is_caffes(kind: str, rows: tuple, columns: tuple, ceil: bool) -> None:
    for n, k, s, p in (rows, columns):
        assume(p < k <= n + 2 * p)
        assume(not ceil or rows[3] or columns[3] or -(-(n - k) // s) * s < n)  # no window of nothing
    size, kernel, stride, pad = zip(rows, columns, strict=True)
    extra = "" if ceil else "round_mode: FLOOR"
    graph = parse_prototxt(net(kind, size, kernel, stride, pad, extra))
    x = np.random.default_rng(0).normal(size=(2, 2, *size)).astype(np.float32)
    expected = caffe_pool(x, kind, caffe_windows(*rows, ceil), caffe_windows(*columns, ceil))
    assert shape_of(graph.outputs[0])[1:] == expected.shape[1:]
    np.testing.assert_allclose(run(graph, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("size", "ops", "pads", "ceil_mode", "out"),
    [
        (8, ["MaxPool"], [0, 0, 0, 0], 1, 4),  # ⌈(8 − 3) / 2⌉ + 1
        (9, ["MaxPool"], [0, 0, 0, 0], 0, 4),  # exact
    ],
)
def test_max_pool_keeps_the_files_padding(size: int, ops: list, pads: list, ceil_mode: int, out: int) -> None:
    graph = parse_prototxt(net("MAX", (size, size), (3, 3), (2, 2), (0, 0), ""))
    node = graph.nodes[0]
    assert [n.op_type for n in graph.nodes] == ops
    assert list(node.attributes["pads"].value) == pads
    assert node.attributes["ceil_mode"].value == ceil_mode
    assert shape_of(graph.outputs[0]) == (None, 2, out, out)


@pytest.mark.golden
def test_stride_beyond_the_kernel() -> None:
    """Rounded down, no window begins beyond the input, whatever the stride."""
    graph = parse_prototxt(net("MAX", (8, 9), (1, 1), (2, 2), (0, 0), "ceil_mode: false"))
    assert shape_of(graph.outputs[0]) == (None, 2, 4, 5)


@pytest.mark.golden
def test_window_in_the_padding_is_dropped() -> None:
    # ⌈(4 + 2 − 2) / 3⌉ + 1 = 3, but the third window would begin at 6 ≥ 4 + 1.
    graph = parse_prototxt(net("MAX", (4, 4), (2, 2), (3, 3), (1, 1), ""))
    assert shape_of(graph.outputs[0]) == (None, 2, 2, 2)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("extra", "out"),
    [("", 4), ("round_mode: CEIL", 4), ("round_mode: FLOOR", 3), ("ceil_mode: true", 4), ("ceil_mode: 0", 3)],
)
def test_rounding_as_written(extra: str, out: int) -> None:
    graph = parse_prototxt(net("AVE", (8, 8), (3, 3), (2, 2), (0, 0), extra))
    assert shape_of(graph.outputs[0]) == (None, 2, out, out)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (net("MAX", (4, 4), (2, 2), (1, 1), (2, 2), ""), "pad must be smaller"),
        (net("MAX", (4, 4), (5, 5), (1, 1), (0, 0), ""), "more than its padded input N x 2 x 4 x 4"),
        (net("MAX", (4, 4), (2, 2), (0, 1), (0, 0), ""), "stride 0"),
        (net("MAX", (4, 4), (2, 2), (1, 1), (0, 0), "round_mode: CEIL ceil_mode: false"), "disagree"),
        (net("STOCHASTIC", (4, 4), (2, 2), (1, 1), (0, 0), ""), "stochastic"),
        (net("MAX", (4, 4), (2, 2), (1, 1), (0, 0), "global_pooling: true"), "is global and has a kernel_h"),
        (net("MAX", (4, 4), (2, 2), (1, 1), (0, 0), "kernel_size: 2"), "gives kernel_size and kernel_h/kernel_w"),
        (net("MAX", (4, 4), (2, 2), (1, 1), (0, 0), "dilation: 2"), "dilated"),
        (net("AVE", (8, 8), (1, 1), (2, 2), (0, 0), ""), "begins beyond the 8 pixels"),
    ],
)
def test_pooling_that_makes_no_sense(text: str, words: str) -> None:
    with pytest.raises(InvalidModel, match=words.replace("(", r"\(")) as caught:
        parse_prototxt(text, "p.prototxt")
    assert caught.value.problems[0].place.startswith("p.prototxt:")
    assert caught.value.problems[0].column
