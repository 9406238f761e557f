"""Small ONNX models, and what they compute according to onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from trunkline.graph.graph import Graph

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

Array = np.ndarray[Any, Any]


def weight(name: str, *shape: int, scale: float = 0.5) -> TensorProto:
    """A seeded random float tensor."""
    seed = sum(name.encode()) * 31 + len(shape)
    values = np.random.default_rng(seed).standard_normal(shape) * scale
    return numpy_helper.from_array(values.astype(np.float32), name)


def tensor(name: str, content: Any, dtype: type = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.asarray(content, dtype=dtype), name)


def model(
    nodes: Sequence[onnx.NodeProto],
    *,
    initializers: Sequence[TensorProto] = (),
    shape: Sequence[int | str | None] = ("batch", 3, 8, 8),
    outputs: Sequence[str] = ("y",),
    opset: int = 18,
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model of one image ``x``."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        list(initializers),
    )
    for value in graph.output:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    ir_version = 8 if opset <= 20 else 13
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def image(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(proto: onnx.ModelProto, x: Array, name: str | None = None) -> dict[str, Array]:
    """What onnxruntime computes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    stored = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value.name for value in session.get_inputs() if value.name not in stored]
    return dict(zip(names, session.run(names, {name or inputs[0]: x}), strict=True))


def to_proto(graph: Graph) -> onnx.ModelProto:
    return ir.to_proto(graph.model)


def save(proto: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def assert_close(ours: Mapping[str, Array], theirs: Mapping[str, Array], tolerance: float = 1e-5) -> None:
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(ours[name], expected, atol=tolerance * scale, rtol=tolerance, err_msg=name)
