"""Parity: every operator's twin against onnxruntime, which shares no code with torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from arrays import Array, floats, ints, normal_by, scalar
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from trunkline.errors import UnsupportedOp
from trunkline.graph.builder import GraphBuilder
from trunkline.twins import registry
from trunkline.twins.twin import Twin

ort = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
normal = normal_by(RNG)
RESULT = {
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), TensorProto.BOOL),
    **dict.fromkeys(("ArgMax", "ArgMin"), TensorProto.INT64),
}
"""The types of results that are not of the image's type."""


def by_onnxruntime(
    op: str, x: Array, stored: tuple[Array | None, ...], outputs: int, attributes: dict[str, Any]
) -> list[Array]:
    def typed(array: Array) -> Array:
        return array.astype(x.dtype) if array.dtype == np.float32 and op != "Resize" else array

    names = ["x", *("" if array is None else f"s{i}" for i, array in enumerate(stored))]
    initializers = [
        onnx.numpy_helper.from_array(typed(array), f"s{i}") for i, array in enumerate(stored) if array is not None
    ]
    element = helper.np_dtype_to_tensor_dtype(x.dtype)
    result = RESULT.get(op, attributes.get("to", element))
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    results = [helper.make_tensor_value_info(f"y{i}", result, None) for i in range(outputs)]
    graph = helper.make_graph([node], op, [helper.make_tensor_value_info("x", element, x.shape)], results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, {"x": x})]


def twin_of(
    op: str,
    x: Array,
    stored: tuple[Array | None, ...],
    outputs: int,
    attributes: dict[str, Any],
    batch: int | None = None,
) -> Twin:
    builder = GraphBuilder(op)
    image = builder.input("x", (batch, *x.shape[1:]))
    rest = [None if array is None else builder.tensor(f"s{i}", array) for i, array in enumerate(stored)]
    names = [f"y{i}" for i in range(outputs)]
    first = builder.node(op, [image, *rest], name="node", attributes=attributes, outputs=names)
    producer = first.producer()
    assert producer is not None
    return Twin(builder.finish(list(producer.outputs))).eval()


def check(
    op: str,
    x: Array,
    *stored: Array | None,
    outputs: int = 1,
    dtype: Any = np.float32,
    tolerance: float | None = None,
    batch: int | None = None,
    **attributes: Any,
) -> None:
    """Compare twin and onnxruntime in shape and value."""
    x = x.astype(dtype)
    want = by_onnxruntime(op, x, stored, outputs, attributes)
    twin = twin_of(op, x, stored, outputs, attributes, batch)
    twin = twin.double() if dtype == np.float64 else twin
    with torch.no_grad():
        got = [y.numpy() for y in twin(torch.from_numpy(x)).values()]
    tolerance = tolerance or (2e-5 if dtype == np.float32 else 1e-10)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


X = normal(2, 4, 6, 5)
CASES: list[tuple[str, Array, tuple[Array | None, ...], dict[str, Any]]] = [
    ("Relu", X, (), {}),
    ("LeakyRelu", X, (), {"alpha": 0.2}),
    ("PRelu", X, (normal(4, 1, 1),), {}),
    ("PRelu", X, (normal(1),), {}),
    ("Clip", X, (scalar(-0.5), scalar(0.7)), {}),
    ("Clip", X, (None, scalar(0.7)), {}),
    ("Clip", X, (scalar(0.1),), {}),
    ("Clip", X, (scalar(0.5), scalar(-0.5)), {}),
    ("Sigmoid", X, (), {}),
    ("Tanh", X, (), {}),
    ("Elu", X, (), {"alpha": 1.5}),
    ("Selu", X, (), {}),
    ("Selu", X, (), {"alpha": 1.2, "gamma": 0.8}),
    ("Celu", X, (), {"alpha": 0.7}),
    ("ThresholdedRelu", X, (), {"alpha": 0.3}),
    ("Shrink", X, (), {"lambd": 0.4, "bias": 0.1}),
    ("Hardmax", X, (), {"axis": 1}),
    ("HardSigmoid", X, (), {"alpha": 0.3, "beta": 0.4}),
    ("HardSwish", 4 * X, (), {}),
    ("Softplus", 40 * X, (), {}),
    ("Softsign", X, (), {}),
    ("Mish", X, (), {}),
    ("Softmax", X, (), {"axis": 1}),
    ("Softmax", X, (), {}),
    ("LogSoftmax", X, (), {"axis": -2}),
    ("Abs", X, (), {}),
    ("Neg", X, (), {}),
    ("Erf", X, (), {}),
    ("Exp", X, (), {}),
    ("Log", np.abs(X) + 0.1, (), {}),
    ("Sqrt", np.abs(X), (), {}),
    ("Reciprocal", np.abs(X) + 0.5, (), {}),
    ("Identity", X, (), {}),
    ("Dropout", X, (), {}),
    ("Dropout", X, (scalar(0.3),), {}),
    ("Add", X, (normal(4, 1, 1),), {}),
    ("Sub", X, (normal(5),), {}),
    ("Mul", X, (normal(1, 4, 1, 1),), {}),
    ("Div", X, (np.abs(normal(6, 1)) + 0.5,), {}),
    ("Max", X, (normal(4, 1, 1), normal(5)), {}),
    ("Min", X, (normal(4, 1, 1),), {}),
    ("Sum", X, (normal(4, 1, 1), normal(5)), {}),
    ("Mean", X, (normal(4, 1, 1), normal(5)), {}),
    ("Pow", np.abs(X) + 0.1, (scalar(0.5),), {}),
    ("Pow", X, (scalar(2.0),), {}),
    ("GlobalAveragePool", X, (), {}),
    ("GlobalMaxPool", X, (), {}),
    ("BatchNormalization", X, (normal(4), normal(4), normal(4), np.abs(normal(4)) + 0.1), {"epsilon": 1e-3}),
    ("InstanceNormalization", X, (normal(4), normal(4)), {"epsilon": 1e-3}),
    ("LayerNormalization", X, (normal(6, 5), normal(6, 5)), {"axis": 2}),
    ("LpNormalization", X, (), {"axis": 1}),
    ("GlobalLpPool", X, (), {}),
    ("LpPool", X, (), {"kernel_shape": [2, 3], "dilations": [2, 1], "pads": [1, 0, 1, 2], "ceil_mode": 1}),
    ("GridSample", X, (np.tanh(normal(2, 3, 4, 2)),), {}),
    ("LRN", X, (), {"size": 3, "alpha": 0.3, "beta": 0.6, "bias": 1.5}),
    ("LRN", X, (), {"size": 1}),
    ("LRN", normal(2, 3, 4, 4), (), {"size": 7, "alpha": 0.5}),
    ("Gemm", normal(2, 4), (normal(4, 3), normal(3)), {}),
    ("Gemm", normal(2, 4), (normal(3, 4), normal(3)), {"transB": 1}),
    ("Gemm", normal(2, 4), (normal(3, 4),), {"transB": 1, "alpha": 0.5}),
    ("Gemm", normal(2, 4), (normal(3, 4), normal(1, 3)), {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", normal(2, 4), (normal(2, 3), scalar(2.0)), {"transA": 1}),
    ("MatMul", X, (normal(5, 3),), {}),
    ("MatMul", X, (normal(4, 5, 3),), {}),
    ("Concat", X, (normal(2, 4, 6, 2), normal(2, 4, 6, 1)), {"axis": -1}),
    ("Reshape", X, (ints(0, -1, 5),), {}),
    ("Reshape", X, (ints(-1, 4, 30),), {}),
    ("Reshape", X, (ints(0, 2, 2, 6, 5),), {}),
    ("Flatten", X, (), {}),
    ("Transpose", X, (), {}),
    ("Transpose", X, (), {"perm": [0, 2, 3, 1]}),
    ("Squeeze", normal(2, 1, 3, 1), (ints(1, -1),), {}),
    ("Squeeze", normal(2, 1, 3, 1), (), {}),
    ("Unsqueeze", normal(2, 3), (ints(-1, 1),), {}),
    ("Unsqueeze", normal(2, 3), (ints(3, 0),), {}),
    ("Expand", normal(2, 1, 3), (ints(4, 1),), {}),
    ("Expand", normal(2, 1, 3), (ints(3, 2, 5, 1),), {}),
    ("DepthToSpace", normal(2, 8, 3, 2), (), {"blocksize": 2}),
    ("DepthToSpace", normal(2, 18, 3, 2), (), {"blocksize": 3, "mode": "CRD"}),
    ("SpaceToDepth", normal(2, 3, 4, 6), (), {"blocksize": 2}),
    ("ReduceMean", X, (ints(2, 3),), {"keepdims": 0}),
    ("ReduceMean", X, (), {}),
    ("ReduceSum", X, (ints(-1),), {}),
    ("ReduceSum", X, (), {"noop_with_empty_axes": 1}),
    ("ReduceMax", X, (ints(1),), {"keepdims": 0}),
    ("ReduceMin", X, (ints(1, 2),), {}),
    ("Gather", X, (ints(3, -1, 0),), {"axis": 1}),
    ("Gather", X, (np.array(-2, dtype=np.int64),), {"axis": 2}),
    ("Gather", X, (np.array([[0, 1], [2, 3]], dtype=np.int64),), {"axis": 3}),
    *((op, 0.9 * np.tanh(X), (), {}) for op in ("Acos", "Asin", "Atan", "Atanh", "Tan")),
    *((op, X, (), {}) for op in ("Asinh", "Cos", "Cosh", "Sin", "Sinh", "Ceil", "Floor", "Round", "Sign")),
    ("Acosh", np.abs(X) + 1.1, (), {}),
    ("Round", np.arange(-6, 6, dtype=np.float32).reshape(1, 1, 2, 6) / 2, (), {}),
    ("Mod", X, (np.abs(normal(5)) + 0.1,), {"fmod": 1}),
    ("Pow", np.abs(X) + 0.1, (np.abs(normal(4, 1, 1)),), {}),
    *((op, np.round(X), (scalar(0.0),), {}) for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *((op, np.round(X), (), {"axis": 1, "select_last_index": last}) for op in ("ArgMax", "ArgMin") for last in (0, 1)),
    ("ArgMax", X, (), {"axis": -1, "keepdims": 0}),
    ("Cast", 9 * X, (), {"to": TensorProto.INT64}),
    ("Cast", X, (), {"to": TensorProto.DOUBLE}),
    ("CumSum", X, (np.array(2, dtype=np.int64),), {}),
    ("CumSum", X, (np.array(-1, dtype=np.int64),), {"exclusive": 1, "reverse": 1}),
    *((f"Reduce{kind}", X, (ints(3, 1),), {"keepdims": 0}) for kind in ("L1", "L2", "LogSumExp", "Prod", "SumSquare")),
    *((f"Reduce{kind}", X, (ints(-1),), {}) for kind in ("L1", "L2", "LogSumExp", "Prod", "SumSquare")),
    ("ReduceLogSum", np.abs(X), (ints(1, 2),), {}),
    ("Einsum", X, (normal(5, 7),), {"equation": "nchw,wk->nchk"}),
    ("Einsum", X, (normal(4),), {"equation": "ncij, c -> nij"}),
    ("Einsum", X, (), {"equation": "...ij->...ji"}),
    ("Tile", X, (ints(1, 2, 1, 3),), {}),
    ("CenterCropPad", X, (ints(3, 8),), {"axes": [2, 3]}),
    ("CenterCropPad", X, (ints(9, 2),), {"axes": [-2, -1]}),
    ("GatherElements", X, (RNG.integers(-6, 6, (2, 4, 3, 5)),), {"axis": 2}),
    ("GatherND", X, (np.array([[0, 1], [1, -2]]),), {}),
    ("GatherND", X, (np.array([[[0, 1], [2, 3]], [[3, 5], [1, -1]]]),), {"batch_dims": 1}),
    ("ScatterElements", X, (np.tile(ints(3, 0, -1).reshape(3, 1), (2, 4, 1, 5)), normal(2, 4, 3, 5)), {"axis": 2}),
    *(
        ("ScatterElements", X, (RNG.integers(-6, 6, (2, 4, 3, 5)), normal(2, 4, 3, 5)), {"axis": 2, "reduction": kind})
        for kind in ("add", "mul", "max", "min")
    ),
    ("ScatterND", X, (np.array([[0, 1], [1, -2]]), normal(2, 6, 5)), {}),
    *(
        ("ScatterND", X, (np.array([[[0, 1], [1, -2]], [[0, 1], [0, 3]]]), normal(2, 2, 6, 5)), {"reduction": kind})
        for kind in ("add", "mul", "max", "min")
    ),
    ("Pad", X, (ints(0, 1, 2, 0, 0, 1, 0, 3), scalar(0.5)), {}),
    ("Pad", X, (ints(0, 0, -1, 2, 0, 0, 1, -2),), {}),
    ("Pad", X, (ints(1, 2, 0, 1), scalar(1.5), ints(3, -2)), {}),
    ("Pad", X, (ints(0, 0, 5, 2, 0, 0, 1, 4),), {"mode": "reflect"}),
    ("Pad", X, (ints(7, 2, 0, 9), None, ints(2, 3)), {"mode": "edge"}),
    ("Pad", normal(2, 3, 5), (ints(0, 0, 2, 0, 0, 4),), {"mode": "reflect"}),
]


MIXING: list[tuple[str, Array, tuple[Array | None, ...], dict[str, Any]]] = [
    ("Flatten", X, (), {"axis": 0}),
    ("Flatten", X, (), {"axis": -1}),
    ("Flatten", X, (), {"axis": 4}),
    ("Pad", X, (ints(1, 2, 0, 0, 0, 1, 2, 0),), {"mode": "reflect"}),
    ("Pad", X, (ints(1, 2, -1, 4, 0, 3, 2, -2),), {"mode": "edge"}),
]
"""Operators that reach across the images of a batch, whose number must be fixed then."""


@pytest.mark.parity
@pytest.mark.parametrize(("op", "x", "stored", "attributes"), MIXING, ids=[f"{i}-{c[0]}" for i, c in enumerate(MIXING)])
def test_operators_across_the_batch(
    op: str, x: Array, stored: tuple[Array | None, ...], attributes: dict[str, Any]
) -> None:
    check(op, x, *stored, batch=x.shape[0], **attributes)


@pytest.mark.parity
@pytest.mark.parametrize(("op", "x", "stored", "attributes"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_each_operator(op: str, x: Array, stored: tuple[Array | None, ...], attributes: dict[str, Any]) -> None:
    check(op, x, *stored, **attributes)


@pytest.mark.properties
@pytest.mark.parametrize(("op", "x", "stored", "attributes"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_each_operator_stays_on_its_device(
    op: str, x: Array, stored: tuple[Array | None, ...], attributes: dict[str, Any]
) -> None:
    """The meta device computes shapes only, and refuses to mix with tensors made elsewhere."""
    twin = twin_of(op, x, stored, 1, attributes)
    want = twin(torch.from_numpy(x))["y0"]
    got = twin.to("meta")(torch.empty(x.shape, device="meta"))["y0"]
    assert (got.device.type, got.shape, got.dtype) == ("meta", want.shape, want.dtype)


@pytest.mark.properties
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize("sizes", [(9, 7), (12, 10)])
def test_resize_stays_on_its_device(mode: str, coordinates: str, sizes: tuple[int, int]) -> None:
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    twin = twin_of("Resize", X, (None, None, ints(2, 4, *sizes)), 1, attributes).to("meta")
    assert twin(torch.empty(X.shape, device="meta"))["y0"].shape == (2, 4, *sizes)


@pytest.mark.properties
def test_every_supported_operator_is_compared() -> None:
    registry.make_op(ir.node("Relu", [ir.val("x", dtype=ir.DataType.FLOAT, shape=[1])]))  # loads all families
    compared = {case[0] for case in CASES}
    elsewhere = {"AveragePool", "Conv", "ConvTranspose", "MaxPool", "Resize", "Slice", "Split"}
    elsewhere |= {"And", "MaxUnpool", "Not", "Or", "Where", "Xor"}
    assert compared | elsewhere == registry._FACTORIES.keys()


@pytest.mark.parity
def test_truth_values_and_choice() -> None:
    """Leaky outside of a band, written out with comparisons, as some exporters do."""
    builder = GraphBuilder("band")
    image = builder.input("x", (None, *X.shape[1:]))
    low, high = (builder.constant(name, scalar(number)) for name, number in (("low", -0.5), ("high", 0.7)))
    above = builder.node("Greater", [image, low], name="above")
    below = builder.node("Less", [image, high], name="below")
    inside = builder.node("And", [above, below], name="inside")
    outside = builder.node("Not", [builder.node("Or", [inside, inside], name="either")], name="outside")
    sides = builder.node("Xor", [outside, inside], name="sides")
    leaky = builder.node("Mul", [image, high], name="leaky")
    both = builder.node("And", [sides, outside], name="both")
    twin = Twin(builder.finish([builder.node("Where", [both, leaky, image], name="y")]))
    want = np.where((X > -0.5) & (X < 0.7), X, X * np.float32(0.7))
    np.testing.assert_array_equal(twin(torch.from_numpy(X))["y"].detach().numpy(), want)
    assert not twin.trainable()


@pytest.mark.properties
@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceProd", "ReduceLogSumExp", "ReduceSumSquare"])
def test_reduction_gradients_are_finite_at_zero(op: str) -> None:
    x = torch.zeros(1, 2, 2, 2, requires_grad=True)
    twin_of(op, x.detach().numpy(), (ints(1),), 1, {})(x)["y0"].sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


DOUBLE = {
    "Relu",
    "Elu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "Abs",
    "Neg",
    "Exp",
    "Log",
    "Sqrt",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Max",
}
DOUBLE |= {
    "Min",
    "Sum",
    "Pow",
    "BatchNormalization",
    "Gemm",
    "MatMul",
    "Softmax",
    "LogSoftmax",
    "ReduceSum",
    "ReduceMean",
}
DOUBLE_CASES = [case for case in CASES if case[0] in DOUBLE]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("op", "x", "stored", "attributes"), DOUBLE_CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(DOUBLE_CASES)]
)
def test_in_double_precision(op: str, x: Array, stored: tuple[Array | None, ...], attributes: dict[str, Any]) -> None:
    exact = (
        1e-6 if op in ("BatchNormalization", "Elu", "Clip") else 1e-10
    )  # their settings are single precision in ONNX
    check(op, x, *stored, dtype=np.float64, tolerance=exact, **attributes)


@pytest.mark.parity
def test_lrn_of_even_size_by_definition() -> None:
    """onnxruntime refuses even sizes; ONNX's formula sums c - floor((size-1)/2) ... c + ceil((size-1)/2)."""
    size, alpha, beta, bias = 4, 0.3, 0.75, 1.0
    twin = twin_of("LRN", X, (), 1, {"size": size, "alpha": alpha})
    squares = [(X[:, max(0, c - 1) : c + 3].astype(np.float64) ** 2).sum(axis=1) for c in range(4)]
    want = X / (bias + alpha / size * np.stack(squares, axis=1)) ** beta
    np.testing.assert_allclose(twin(torch.from_numpy(X))["y0"].numpy(), want, rtol=1e-5)


# ------------------------------------------------------------------ windows

GRID = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
SMALL = st.integers(1, 3)


@st.composite
def windows(draw: st.DrawFn, *, ceil: bool = True, dilated: bool = True) -> dict[str, Any]:
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    kernel = draw(st.lists(SMALL, min_size=rank, max_size=rank))
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    attributes["strides"] = draw(st.lists(SMALL, min_size=rank, max_size=rank))
    attributes["dilations"] = draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto_pad == "NOTSET":
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    else:
        attributes["auto_pad"] = auto_pad
        if auto_pad.startswith("SAME"):  # onnxruntime refuses the combination with dilations, or with gaps
            attributes["dilations"] = [1] * rank
            attributes["strides"] = [min(s, k) for s, k in zip(attributes["strides"], kernel, strict=True)]
    if not dilated:
        del attributes["dilations"]
    if ceil and auto_pad == "NOTSET":
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    return attributes


def image_for(attributes: dict[str, Any], data: st.DataObject, channels: int = 2) -> Array:
    sizes = [data.draw(st.integers(5, 8)) for _ in attributes["kernel_shape"]]
    return normal(2, channels, *sizes)


@pytest.mark.parity
@GRID
@given(windows(ceil=False), st.sampled_from([1, 2]), st.booleans(), st.data())
def test_convolution(attributes: dict[str, Any], groups: int, biased: bool, data: st.DataObject) -> None:
    x = image_for(attributes, data, channels=4)
    weight = normal(6, 4 // groups, *attributes["kernel_shape"])
    stored = (weight, normal(6)) if biased else (weight,)
    check("Conv", x, *stored, group=groups, **attributes)


@pytest.mark.parity
@GRID
@given(windows(ceil=False), st.sampled_from([1, 2]), st.booleans(), st.data())
def test_transposed_convolution(attributes: dict[str, Any], groups: int, biased: bool, data: st.DataObject) -> None:
    x = image_for(attributes, data, channels=4)
    weight = normal(4, 3, *attributes["kernel_shape"])
    stored = (weight, normal(3 * groups)) if biased else (weight,)
    if "pads" in attributes:
        attributes["output_padding"] = [data.draw(st.integers(0, stride - 1)) for stride in attributes["strides"]]
    check("ConvTranspose", x, *stored, group=groups, **attributes)


@pytest.mark.parity
@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("sizes", [[7, 10], [8, 9]])
def test_transposed_convolution_to_a_size(auto_pad: str, sizes: list[int]) -> None:
    stored = (normal(2, 3, 3, 3), normal(3))
    check("ConvTranspose", normal(2, 2, 4, 5), *stored, strides=[2, 2], output_shape=sizes, auto_pad=auto_pad)


@pytest.mark.parity
@GRID
@given(windows(), st.data())
def test_max_pooling(attributes: dict[str, Any], data: st.DataObject) -> None:
    check("MaxPool", image_for(attributes, data), **attributes)


@pytest.mark.parity
@GRID
@given(windows(dilated=False), st.integers(0, 1), st.data())
def test_average_pooling(attributes: dict[str, Any], counted: int, data: st.DataObject) -> None:
    check("AveragePool", image_for(attributes, data), count_include_pad=counted, **attributes)


# ------------------------------------------------------------------ cutting and joining


@pytest.mark.parity
@GRID
@given(st.data())
def test_slice(data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True))
    bound = st.sampled_from([-(2**63), -7, -3, -1, 0, 1, 2, 4, 9, 2**31 - 1, 2**63 - 1])
    starts = [data.draw(bound) for _ in axes]
    ends = [data.draw(bound) for _ in axes]
    steps = [data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3])) for _ in axes]
    signed = [axis - 4 if data.draw(st.booleans()) else axis for axis in axes]
    check("Slice", X, ints(*starts), ints(*ends), ints(*signed), ints(*steps))


@pytest.mark.parity
@pytest.mark.parametrize(
    ("stored", "outputs", "attributes"),
    [((ints(1, 3),), 2, {"axis": 1}), ((), 3, {"axis": -1, "num_outputs": 3}), ((), 2, {"axis": 2, "num_outputs": 2})],
)
def test_split(stored: tuple[Array, ...], outputs: int, attributes: dict[str, Any]) -> None:
    check("Split", normal(2, 4, 6, 8), *stored, outputs=outputs, **attributes)


# ------------------------------------------------------------------ resize

COORDINATES = st.sampled_from(["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
ROUNDINGS = st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
SCALES = st.sampled_from([0.3, 0.5, 0.6, 0.75, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0])


def resize_inputs(data: st.DataObject, x: Array) -> tuple[tuple[Array | None, ...], dict[str, Any]]:
    """Scales or sizes, for all axes or for the spatial ones only."""
    axes = {"axes": [2, 3]} if data.draw(st.booleans()) else {}
    if data.draw(st.booleans()):
        scales = [data.draw(SCALES) for _ in range(2)]
        assume(all(int(np.float32(size) * np.float32(s)) > 0 for size, s in zip(x.shape[2:], scales, strict=True)))
        return (None, floats(*([] if axes else [1, 1]), *scales)), axes
    sizes = [data.draw(st.integers(1, 14)) for _ in range(2)]
    return (None, None, ints(*([] if axes else x.shape[:2]), *sizes)), axes


@pytest.mark.parity
@settings(GRID, max_examples=200)
@given(COORDINATES, ROUNDINGS, st.integers(1, 9), st.integers(1, 9), st.data())
def test_nearest_resize(coordinates: str, rounding: str, height: int, width: int, data: st.DataObject) -> None:
    x = normal(2, 3, height, width)
    stored, axes = resize_inputs(data, x)
    check(
        "Resize", x, *stored, coordinate_transformation_mode=coordinates, nearest_mode=rounding, mode="nearest", **axes
    )


@pytest.mark.parity
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
@pytest.mark.parametrize("sizes", [(7, 2), (10, 12), (7, 38), (23, 14), (14, 19), (18, 39), (26, 1), (64, 24)])
def test_nearest_resize_next_to_a_tie(rounding: str, coordinates: str, sizes: tuple[int, int]) -> None:
    """Positions that lie a rounding error away from a tie fall on the same side as in onnxruntime."""
    modes: dict[str, Any] = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    check("Resize", normal(2, 3, 2, sizes[0]), None, None, ints(2, 3, 2, sizes[1]), mode="nearest", **modes)


@pytest.mark.parity
@settings(GRID, max_examples=200)
@given(COORDINATES, st.integers(1, 9), st.integers(1, 9), st.data())
def test_linear_resize(coordinates: str, height: int, width: int, data: st.DataObject) -> None:
    x = normal(2, 3, height, width)
    stored, axes = resize_inputs(data, x)
    check("Resize", x, *stored, coordinate_transformation_mode=coordinates, mode="linear", **axes)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"mode": "lanczos"}, '"lanczos"'),
        ({"mode": "linear", "exclude_outside": 1}, "exclude_outside"),
        ({"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"}, '"half_pixel_symmetric"'),
    ],
)
def test_unknown_resize_modes_are_refused(attributes: dict[str, Any], named: str) -> None:
    """Modes that Resize does not have are refused by name."""
    stored = (floats(0, 0, 0, 0, 1, 1, 1, 1), floats(1, 1, 2, 2))
    with pytest.raises(UnsupportedOp, match=named) as caught:
        twin_of("Resize", X, stored, 1, attributes)
    assert caught.value.problems[0].place == "node"


@pytest.mark.abuse
def test_other_refusals_name_the_node() -> None:
    with pytest.raises(UnsupportedOp, match="ReduceSumSquare with noop_with_empty_axes and no axes"):
        twin_of("ReduceSumSquare", X, (), 1, {"noop_with_empty_axes": 1})
    with pytest.raises(UnsupportedOp, match="Dropout with ratio 1.0"):
        twin_of("Dropout", X, (scalar(1.0),), 1, {})


@pytest.mark.abuse
def test_used_second_output_is_refused() -> None:
    with pytest.raises(UnsupportedOp, match='second output "y1"'):
        twin_of("Dropout", X, (), 2, {})
