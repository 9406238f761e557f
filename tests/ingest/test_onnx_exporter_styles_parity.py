"""Parity: small files in the styles of many exporters compute, once read, what onnxruntime computes for the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from exporter_styles import STYLES
from onnx import TensorProto, numpy_helper
from onnx_models import Array, assert_close, image, run, save

from trunkline.graph.graph import Graph, is_weight, shape_of
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.parity


def sizes_of(proto: onnx.ModelProto) -> list[int]:
    value = next(value for value in proto.graph.input if value.name == "x")
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def read_style(proto: onnx.ModelProto, folder: Path) -> Graph:
    is_open = any(size < 1 for size in sizes_of(proto)[1:])
    return read(save(proto, folder), input_size=(8, 8) if is_open else None)


def pixels(graph: Graph, batch: int) -> Array:
    """Whole numbers, so that files of bytes get the same."""
    return np.abs(np.round(image(batch, *[size or 0 for size in shape_of(graph.input)[1:]]) * 3 + 8))


def reference(proto: onnx.ModelProto, graph: Graph, x: Array) -> Mapping[str, Array]:
    """What onnxruntime computes, in parts where the file takes one batch size only."""
    if any("channels last" in note for note in graph.notes):
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    element = next(value for value in proto.graph.input if value.name == "x").type.tensor_type.elem_type
    x = x.astype(onnx.helper.tensor_dtype_to_np_dtype(element))
    batch = sizes_of(proto)[0]
    if batch < 1:
        return run(proto, x, "x")
    each = [run(proto, x[i : i + batch], "x") for i in range(0, len(x), batch)]
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def outputs(graph: Graph, x: Array) -> dict[str, Array]:
    with torch.no_grad():
        return {name: y.numpy() for name, y in Twin(graph).eval()(torch.from_numpy(x)).items()}


@pytest.mark.parametrize("name", STYLES)
def test_style_computes_the_same(name: str, tmp_path: Path) -> None:
    """A file as this exporter writes it computes what onnxruntime does."""
    proto = STYLES[name]()
    graph = read_style(proto, tmp_path)
    for batch in (4, 8) if sizes_of(proto)[0] == 4 else (1, 2):
        x = pixels(graph, batch)
        assert_close(outputs(graph, x), reference(proto, graph, x))


@pytest.mark.parametrize("name", STYLES)
def test_basic_optimisation_computes_the_same(name: str, tmp_path: Path) -> None:
    """What onnxruntime makes of the file at level basic computes the same."""
    proto = STYLES[name]()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "basic.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    basic = onnx.load(tmp_path / "basic.onnx")
    graph, again = read_style(proto, tmp_path), read_style(basic, tmp_path)
    x = pixels(graph, 3)
    assert_close(outputs(again, x), outputs(graph, x))


def in_precision(proto: onnx.ModelProto, kind: int) -> onnx.ModelProto:
    """The file with float32 exchanged for ``kind`` throughout."""
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    attributes = [item for node in proto.graph.node for item in node.attribute]
    for stored in [*proto.graph.initializer, *(item.t for item in attributes if item.t.data_type)]:
        if stored.data_type == TensorProto.FLOAT:
            stored.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(stored).astype(dtype), stored.name))
    for item in attributes:
        if item.name == "to" and item.i == TensorProto.FLOAT:
            item.i = kind
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = kind
    return proto


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("name", STYLES)
def test_other_precisions_become_float32(name: str, kind: int, tmp_path: Path) -> None:
    """A file in another precision is read as float32."""
    graph = read_style(STYLES[name](), tmp_path)
    other = read_style(in_precision(STYLES[name](), kind), tmp_path)
    digits = {TensorProto.FLOAT16: 2e-3, TensorProto.BFLOAT16: 2e-2, TensorProto.DOUBLE: 1e-6}[kind]
    x = pixels(graph, 4)
    for theirs, ours in zip(outputs(graph, x).values(), outputs(other, x).values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=digits * 20 * float(np.abs(theirs).max()), rtol=0)
    assert any("float32" in note for note in other.notes)
    assert kinds_of(other) <= kinds_of(graph)


def kinds_of(graph: Graph) -> frozenset[str]:
    """The element types of the stored numbers that the twin computes with."""
    return frozenset(str(value.dtype) for value in graph.initializers.values() if is_weight(value))


def test_half_precision_agrees_with_onnxruntime(tmp_path: Path) -> None:
    """A file in half precision computes what onnxruntime computes of it."""
    proto = in_precision(STYLES["mxnet_classifier"](), TensorProto.FLOAT16)
    graph = read_style(proto, tmp_path)
    x = pixels(graph, 2)
    assert_close(outputs(graph, x), reference(proto, graph, x), tolerance=1e-2)
