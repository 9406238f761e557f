"""One ONNX node at any opset: what onnxruntime computes, and what Trunkline reads and computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from arrays import Array, normal_by
from onnx import helper, numpy_helper
from torch import Tensor, nn

from trunkline.graph.graph import array_of, name_of
from trunkline.graph.roles import is_static_input
from trunkline.ingest.onnx_file.fragment import canonical_fragment
from trunkline.twins.initial_weights import to_tensor
from trunkline.twins.registry import make_op

Stored = Sequence[Array | None]
normal = normal_by(np.random.default_rng(0))


def model(
    op: str, x: Array, stored: Stored, opset: int, attributes: dict[str, Any], outputs: Sequence[str] = ("y",)
) -> onnx.ModelProto:
    """A node whose first input is given, and whose others are stored."""
    names = ["x", *("" if array is None else f"s{i}" for i, array in enumerate(stored))]
    node = helper.make_node(op, names, list(outputs), name="node", **attributes)
    given = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
    tensors = [numpy_helper.from_array(array, f"s{i}") for i, array in enumerate(stored) if array is not None]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], op, [given], results, tensors)
    ir_version = 13
    if opset <= 22:
        ir_version = 8 if opset <= 18 else 10
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def by_onnxruntime(proto: onnx.ModelProto, x: Array) -> list[Array]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    typed = onnx.shape_inference.infer_shapes(proto)
    for value in typed.graph.output:
        if not value.type.HasField("tensor_type"):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    session = ort.InferenceSession(typed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, {"x": x})]


class Fragment(nn.Module):
    """The canonical form of a model with one input, computed by the operators' twins."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        super().__init__()
        self.graph = canonical_fragment(proto)
        self.ops = nn.ModuleList(make_op(node) for node in self.graph)
        self.weights = {name: to_tensor(array_of(value)) for name, value in self.graph.initializers.items()}

    @property
    def operators(self) -> list[str]:
        return [node.op_type for node in self.graph]

    def forward(self, x: Tensor) -> list[Tensor]:
        values = {**self.weights, "x": x}
        for node, op in zip(self.graph, self.ops, strict=True):
            result = op(*(self._read(node, index, values) for index in range(len(node.inputs))))
            results = (result,) if isinstance(result, Tensor) else result
            values.update({value.name or "": one for value, one in zip(node.outputs, results, strict=False)})
        return [values[name_of(value)] for value in self.graph.outputs]

    def _read(self, node: ir.Node, index: int, values: dict[str, Tensor]) -> Tensor | None:
        value = node.inputs[index]
        return None if value is None or is_static_input(node, index) else values[name_of(value)]


def check(
    op: str,
    x: Array,
    *stored: Array | None,
    opset: int = 18,
    tolerance: float = 2e-5,
    outputs: Sequence[str] = ("y",),
    trains: bool = True,
    **attributes: Any,
) -> Fragment:
    """Compare with onnxruntime in shape, type and value, and take one step back: every gradient must be finite."""
    proto = model(op, x, stored, opset, attributes, outputs)
    fragment = Fragment(proto).eval()
    given = torch.from_numpy(x).requires_grad_(trains)
    got = fragment(given)
    for ours, theirs in zip(got, by_onnxruntime(proto, x), strict=True):
        assert tuple(ours.shape) == theirs.shape
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=tolerance, atol=tolerance)
    if trains:
        got[0].sum().backward()
        assert given.grad is not None
        assert bool(torch.isfinite(given.grad).all())
    return fragment
