"""Parity: convolution and transposed convolution at any opset, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_node import Array, Fragment, by_onnxruntime, check, model, normal
from onnx import TensorProto, helper, numpy_helper

from trunkline.errors import InvalidModel, UnsupportedOp

pytest.importorskip("onnxruntime")

GRID = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
OPSETS = st.sampled_from([7, 11, 18, 22])


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    kernel = draw(st.lists(st.integers(1, 4), min_size=rank, max_size=rank))
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank)),
        "group": draw(st.sampled_from([1, 2, 4])),
    }
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto_pad.startswith("SAME"):
        attributes["strides"] = [min(s, k) for s, k in zip(attributes["strides"], kernel, strict=True)]
        return attributes | {"auto_pad": auto_pad}
    attributes["dilations"] = draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    if auto_pad == "VALID":
        return attributes | {"auto_pad": auto_pad}
    return attributes | {"pads": [draw(st.integers(0, k)) for k in kernel * 2]}


def image_for(attributes: dict[str, Any], data: st.DataObject) -> Array:
    return normal(2, 4, *(data.draw(st.integers(7, 9)) for _ in attributes["kernel_shape"]))


@pytest.mark.parity
@GRID
@given(windows(), OPSETS, st.booleans(), st.data())
def test_convolution(attributes: dict[str, Any], opset: int, biased: bool, data: st.DataObject) -> None:
    weight = normal(8, 4 // attributes["group"], *attributes["kernel_shape"])
    if data.draw(st.booleans()):
        del attributes["kernel_shape"]  # the weight says it
    x = normal(2, 4, *(data.draw(st.integers(7, 9)) for _ in weight.shape[2:]))
    check("Conv", x, weight, *([normal(8)] if biased else []), opset=opset, tolerance=1e-4, **attributes)


@pytest.mark.parity
@GRID
@given(windows(), OPSETS, st.booleans(), st.data())
def test_transposed_convolution(attributes: dict[str, Any], opset: int, biased: bool, data: st.DataObject) -> None:
    groups = attributes["group"]
    weight = normal(4, 3, *attributes["kernel_shape"])
    stored = (weight, normal(3 * groups)) if biased else (weight,)
    if "pads" in attributes:
        attributes["output_padding"] = [data.draw(st.integers(0, stride - 1)) for stride in attributes["strides"]]
    check("ConvTranspose", image_for(attributes, data), *stored, opset=opset, tolerance=1e-4, **attributes)


@pytest.mark.parity
@GRID
@given(windows(), OPSETS, st.data())
def test_transposed_convolution_to_a_size(attributes: dict[str, Any], opset: int, data: st.DataObject) -> None:
    x = image_for(attributes, data)
    attributes.pop("pads", None)
    if attributes.get("auto_pad") == "VALID":
        del attributes["auto_pad"]
    dilations = attributes.get("dilations", [1] * (x.ndim - 2))
    rows = zip(x.shape[2:], attributes["strides"], attributes["kernel_shape"], dilations, strict=True)
    whole = [stride * (size - 1) + dilation * (kernel - 1) + 1 for size, stride, kernel, dilation in rows]
    attributes["output_shape"] = [size - data.draw(st.integers(0, 3)) for size in whole]
    weight = normal(4, 3, *attributes["kernel_shape"])
    check("ConvTranspose", x, weight, opset=opset, tolerance=1e-4, **attributes)


@pytest.mark.parity
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolution_by_a_computed_weight(op: str) -> None:
    """A weight that is scaled before use: the stored tensors train, the product is the weight."""
    x = normal(2, 4, 6, 5)
    shape = (8, 4, 3, 3) if op == "Conv" else (4, 8, 3, 3)
    nodes = [helper.make_node("Mul", ["w", "s"], ["v"]), helper.make_node(op, ["x", "v"], ["y"], pads=[1, 1, 0, 1])]
    tensors = [numpy_helper.from_array(normal(*shape), "w"), numpy_helper.from_array(normal(shape[0], 1, 1, 1), "s")]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [image], [result], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    fragment = Fragment(proto)
    got = fragment(torch.from_numpy(x))[0]
    np.testing.assert_allclose(got.numpy(), by_onnxruntime(proto, x)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.abuse
def test_other_convolutions_are_refused() -> None:
    """Four spatial axes and negative pads are refused."""
    x = normal(1, 2, 3, 3, 3, 3)
    with pytest.raises(UnsupportedOp, match="4 spatial axes"):
        Fragment(model("Conv", x, (normal(2, 2, 1, 1, 1, 1),), 18, {}))
    with pytest.raises(InvalidModel, match="pads"):
        Fragment(model("Conv", normal(1, 2, 6, 6), (normal(2, 2, 3, 3),), 18, {"pads": [-1, 0, 0, 0]}))
