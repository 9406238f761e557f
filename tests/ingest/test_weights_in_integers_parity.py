"""Weights that a file stores in whole numbers are the float weights they stand for, exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus_files import field
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import Array, assert_close, image, model, save, tensor, to_proto, weight
from parameters import parameter_count

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import Graph, array_of
from trunkline.ingest.read import read
from trunkline.verbs.convert import convert

node = helper.make_node

RANGES = {
    TensorProto.INT4: (-8, 8),
    TensorProto.UINT4: (0, 16),
    TensorProto.INT8: (-128, 128),
    TensorProto.UINT8: (0, 256),
    TensorProto.INT16: (-2000, 2000),
    TensorProto.UINT16: (0, 4000),
    TensorProto.INT32: (-9000, 9000),
}


def unfused(proto: onnx.ModelProto, x: Array) -> dict[str, Array]:
    """What onnxruntime computes; its optimiser makes products of few bits of some of these, which round."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, {"x": x}), strict=True))


def check(proto: onnx.ModelProto, folder: Path, trained: int) -> Graph:
    graph = read(save(proto, folder))
    x = image(2, *[dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim][1:])
    assert_close(unfused(to_proto(graph), x), unfused(proto, x))
    assert parameter_count(graph) == trained
    return graph


def whole(name: str, kind: int, numbers: Array) -> TensorProto:
    return helper.make_tensor(name, kind, numbers.shape, numbers.ravel().tolist())


def convolution(
    kind: int, scale: Array, zero: Array | None = None, *, opset: int = 21, width: int = 5, **attributes: Any
) -> onnx.ModelProto:
    low, high = RANGES[kind]
    stored = [whole("w", kind, np.random.default_rng(0).integers(low, high, (4, width, 3, 3)))]
    stored.append(numpy_helper.from_array(np.asarray(scale, np.float32), "scale"))
    if zero is not None:
        stored.append(whole("zero", kind, np.asarray(zero)))
    names = [tensor.name for tensor in stored]
    nodes = [node("DequantizeLinear", names, ["wide"], **attributes), node("Conv", ["x", "wide"], ["y"])]
    proto = model(nodes, initializers=stored, shape=("n", width, 8, 8), opset=opset)
    proto.ir_version = 10
    return proto


@pytest.mark.parity
def test_file_of_a_public_report(tmp_path: Path) -> None:
    """The file of a public report is read."""
    graph = check(onnx.load(field("weight_only_int8")), tmp_path, 216)
    assert [node.op_type for node in graph.nodes] == ["Conv", "Relu"]
    assert graph.notes == ("weights stored as int8 are read as the float32 they stand for",)
    assert set(graph.initializers) == {"w1"}


@pytest.mark.properties
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_granularity_of_every_type(data: st.DataObject, tmp_path_factory: Any) -> None:
    kind = data.draw(st.sampled_from(sorted(RANGES)))
    axis = data.draw(st.integers(-4, 3))
    sizes = [4, 5, 3, 3]
    block = data.draw(st.integers(1, 5))
    by_block = [-(-size // block) if i == axis % 4 else size for i, size in enumerate(sizes)]
    shape = data.draw(st.sampled_from([[], [sizes[axis]], by_block]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    scale = rng.uniform(0.001, 0.1, shape)
    low, high = RANGES[kind]
    has_zero = kind != TensorProto.INT32 and data.draw(st.booleans())
    zero = rng.integers(low, high, shape) if has_zero else None
    attributes = {"axis": axis, **({"block_size": block} if shape == by_block else {})}
    check(convolution(kind, scale, zero, **attributes), tmp_path_factory.mktemp("q"), 180)


@pytest.mark.parity
@pytest.mark.parametrize("opset", [10, 13, 19])
def test_older_opsets_have_the_operator_too(opset: int, tmp_path: Path) -> None:
    check(convolution(TensorProto.INT8, 0.02, 3, opset=opset, width=3), tmp_path, 108)


@pytest.mark.parity
def test_four_bits_in_external_data(tmp_path: Path) -> None:
    """Weights of 4 bits may lie in a file of their own."""
    proto = convolution(TensorProto.INT4, np.full(4, 0.1), axis=0)
    expected = array_of(read(save(proto, tmp_path)).initializers["w"])
    onnx.save(proto, tmp_path / "outside.onnx", save_as_external_data=True, location="outside.data", size_threshold=0)
    assert np.array_equal(array_of(read(tmp_path / "outside.onnx").initializers["w"]), expected)


@pytest.mark.parity
def test_weights_that_training_rounded_are_rounded(tmp_path: Path) -> None:
    """What training for quantisation leaves: float weights behind QuantizeLinear and DequantizeLinear."""
    nodes = [
        node("QuantizeLinear", ["w", "scale", "zero"], ["q"], axis=0),
        node("DequantizeLinear", ["q", "scale", "zero"], ["wide"], axis=0),
        node("Conv", ["x", "wide"], ["y"]),
    ]
    stored = [weight("w", 4, 3, 3, 3), tensor("scale", [0.01, 0.02, 0.03, 0.004], np.float32)]
    graph = check(model(nodes, initializers=[*stored, tensor("zero", [0, 1, 2, 3], np.uint8)]), tmp_path, 108)
    assert set(graph.initializers) == {"w"}
    assert not np.array_equal(array_of(graph.initializers["w"]), numpy_helper.to_array(stored[0]))


@pytest.mark.parity
def test_readers_of_same_numbers_share_a_weight(tmp_path: Path) -> None:
    """Nodes that read the same numbers in the same way share one weight."""
    nodes = [
        node("DequantizeLinear", ["w", "scale"], ["a"]),
        node("DequantizeLinear", ["w", "scale"], ["b"]),
        node("Conv", ["x", "a"], ["c"], pads=[1, 1, 1, 1]),
        node("Conv", ["c", "b"], ["y"]),
    ]
    stored = [whole("w", TensorProto.INT8, np.arange(81).reshape(3, 3, 3, 3)), tensor("scale", 0.01, np.float32)]
    graph = check(model(nodes, initializers=stored), tmp_path, 81)
    assert [value.name for node in graph.nodes for value in node.inputs[1:] if value is not None] == ["w", "w"]


@pytest.mark.parity
def test_numbers_cast_and_scaled_by_hand(tmp_path: Path) -> None:
    """A Cast, a Sub and a Mul of stored whole numbers become one weight."""
    nodes = [
        node("Cast", ["w"], ["float"], to=1),
        node("Sub", ["float", "zero"], ["centred"]),
        node("Mul", ["centred", "scale"], ["wide"]),
        node("Conv", ["x", "wide"], ["y"]),
    ]
    stored = [whole("w", TensorProto.UINT8, np.arange(108).reshape(4, 3, 3, 3)), weight("zero", 4, 1, 1, 1)]
    graph = check(model(nodes, initializers=[*stored, weight("scale", 4, 1, 1, 1)]), tmp_path, 108)
    assert [node.op_type for node in graph.nodes] == ["Conv"]
    assert '"wide"' in graph.notes[0]


@pytest.mark.parity
def test_table_of_bytes_stays_constant(tmp_path: Path) -> None:
    """A table of bytes that is no weight stays a constant."""
    nodes = [node("Cast", ["mask"], ["float"], to=1), node("Mul", ["x", "float"], ["y"])]
    check(model(nodes, initializers=[tensor("mask", np.eye(8), np.uint8)]), tmp_path, 0)


@pytest.mark.parity
def test_the_converted_file_holds_floats(tmp_path: Path) -> None:
    result = convert(save(convolution(TensorProto.INT8, 0.02), tmp_path), tmp_path / "out.onnx", parity_inputs=2)
    assert result.export.parity.passed
    stored = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer}
    assert stored == {"w": TensorProto.FLOAT}


@pytest.mark.abuse
def test_quantised_values_are_refused(tmp_path: Path) -> None:
    """A network whose values are quantised is refused, with what to give instead."""
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["rounded"]),
        node("DequantizeLinear", ["w", "scale"], ["wide"]),
        node("Conv", ["rounded", "wide"], ["y"]),
    ]
    stored = [whole("w", TensorProto.INT8, np.ones((4, 3, 3, 3), np.int64)), tensor("scale", 0.01, np.float32)]
    proto = model(nodes, initializers=[*stored, tensor("zero", 0, np.int8)])
    with pytest.raises(UnsupportedOp, match="give the float model") as caught:
        read(save(proto, tmp_path))
    assert [problem.place.split(": ")[-1] for problem in caught.value.problems] == ["q", "rounded"]


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("scale", "zero", "attributes", "message"),
    [
        (np.full(5, 0.1), None, {"axis": 0}, r"a scale of \[5\] for \[4, 5, 3, 3\], axis 0"),
        (np.full((4, 2, 3, 3), 0.1), None, {"axis": 1, "block_size": 4}, None),
        (np.full((4, 3, 3, 3), 0.1), None, {"axis": 1, "block_size": 4}, "blocks of 4"),
        (np.full(4, 0.1), None, {"axis": 9}, "axis 9"),
        (0.0, None, {}, "0 or not finite"),
        (np.full(4, 0.1), np.zeros(5, np.int64), {"axis": 0}, r"zero point is \[5\]"),
    ],
)
def test_unfit_operands_are_refused(
    scale: Any, zero: Any, attributes: dict[str, int], message: str | None, tmp_path: Path
) -> None:
    """Scales and zero points that do not fit are refused."""
    path = save(convolution(TensorProto.INT8, scale, zero, **attributes), tmp_path)
    if message is None:
        assert read(path)
        return
    with pytest.raises(InvalidModel, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
