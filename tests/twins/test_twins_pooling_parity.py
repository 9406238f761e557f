"""Parity: pooling of every kind against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_node import Array, Fragment, check, model, normal

from trunkline.errors import InvalidModel, UnsupportedOp

pytest.importorskip("onnxruntime")

GRID = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])


@st.composite
def windows(draw: st.DrawFn, *, dilated: bool) -> dict[str, Any]:
    """Windows with padding up to the kernel less one, which torch's own pooling refuses."""
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    kernel = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)),
    }
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto_pad != "NOTSET":
        attributes["auto_pad"] = auto_pad
        attributes["strides"] = [min(s, k) for s, k in zip(attributes["strides"], kernel, strict=True)]
        return attributes
    attributes["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    attributes["ceil_mode"] = draw(st.integers(0, 1))
    if dilated:
        attributes["dilations"] = draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    return attributes


def image_for(attributes: dict[str, Any], data: st.DataObject) -> Array:
    sizes = [data.draw(st.integers(7, 9)) for _ in attributes["kernel_shape"]]
    return normal(2, 3, *sizes)


@pytest.mark.parity
@GRID
@given(windows(dilated=True), st.sampled_from([12, 18, 22]), st.data())
def test_max_pooling(attributes: dict[str, Any], opset: int, data: st.DataObject) -> None:
    check("MaxPool", image_for(attributes, data), opset=opset, **attributes)


@pytest.mark.parity
@GRID
@given(windows(dilated=True), st.integers(0, 1), st.data())
def test_positions_of_maxima(attributes: dict[str, Any], order: int, data: st.DataObject) -> None:
    for opset in (12, 18):
        x = image_for(attributes, data)
        check("MaxPool", x, opset=opset, outputs=("y", "at"), storage_order=order, **attributes)


@pytest.mark.parity
@GRID
@given(windows(dilated=False), st.integers(0, 1), st.sampled_from([11, 18]), st.data())
def test_average_pooling(attributes: dict[str, Any], counted: int, opset: int, data: st.DataObject) -> None:
    check("AveragePool", image_for(attributes, data), opset=opset, count_include_pad=counted, **attributes)


@pytest.mark.parity
@settings(GRID, max_examples=40)
@given(windows(dilated=True), st.integers(0, 1), st.sampled_from([19, 22]), st.data())
def test_average_pooling_with_gaps(attributes: dict[str, Any], counted: int, opset: int, data: st.DataObject) -> None:
    fragment = check("AveragePool", image_for(attributes, data), opset=opset, count_include_pad=counted, **attributes)
    has_gaps = set(attributes.get("dilations", [1])) != {1}
    assert (fragment.operators == ["AveragePool"]) is not has_gaps


@pytest.mark.parity
@GRID
@given(windows(dilated=True), st.integers(1, 3), st.sampled_from([18, 22]), st.data())
def test_lp_pooling(attributes: dict[str, Any], p: int, opset: int, data: st.DataObject) -> None:
    check("LpPool", image_for(attributes, data), opset=opset, p=p, tolerance=1e-4, **attributes)


@pytest.mark.parity
@pytest.mark.parametrize("opset", [7, 11])
def test_lp_pooling_of_older_opsets(opset: int) -> None:
    """LpPool before it had dilations."""
    check("LpPool", normal(2, 3, 7, 8), opset=opset, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 2, 1])


@pytest.mark.parity
@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5), (2, 3, 2, 4, 3), (1, 3, 1, 1)])
def test_global_pooling(op: str, shape: tuple[int, ...]) -> None:
    for opset in (7, 18):
        check(op, normal(*shape), opset=opset)


@pytest.mark.properties
@pytest.mark.parametrize("op", ["LpPool", "GlobalLpPool"])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_norm_of_zeros_has_gradient_zero(op: str, p: int) -> None:
    """The gradient of a pooled norm of zeros is zero."""
    x = torch.zeros(1, 2, 4, 4, requires_grad=True)
    attributes: dict[str, Any] = {"kernel_shape": [2, 2]} if op == "LpPool" else {}
    Fragment(model(op, x.detach().numpy(), (), 18, {"p": p, **attributes}))(x)[0].sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("op", "opset", "attributes", "outputs", "text"),
    [
        ("MaxPool", 18, {"kernel_shape": [2, 2], "pads": [0, 0, 0, 2]}, ("y",), "as wide as its window"),
        ("AveragePool", 18, {"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}, ("y",), "as wide as its window"),
        ("LpPool", 18, {"kernel_shape": [2, 2], "p": 0}, ("y",), "p 0"),
        (
            *("AveragePool", 19, {"kernel_shape": [2, 2], "dilations": [2, 2], "auto_pad": "SAME_UPPER"}, ("y",)),
            "dilations with auto_pad",
        ),
        ("AveragePool", 19, {"kernel_shape": [2, 2], "dilations": [9, 1]}, ("y",), "larger than the padded image"),
        ("AveragePool", 19, {"kernel_shape": [40, 1], "dilations": [2, 1]}, ("y",), "more than 32 taps"),
    ],
)
def test_ambiguous_pooling_is_refused(
    op: str, opset: int, attributes: dict[str, Any], outputs: tuple[str, ...], text: str
) -> None:
    """What runtimes do not agree on is refused."""
    x = np.zeros((1, 2, 6, 6), np.float32)
    with pytest.raises((UnsupportedOp, InvalidModel), match=text):
        Fragment(model(op, x, (), opset, attributes, outputs))
