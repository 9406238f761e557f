"""Parity: operators that the runtime computes less exactly than torch pass, and hide no defect of the same size."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

from trunkline.export.onnx_model import finished
from trunkline.export.parity import check_parity
from trunkline.export.runtime_precision import OPERATOR_ERROR, UNIT, operator_error


def probability_map(nets, bias: float, *, op: str = "Sigmoid", scale: float | None = None, after: bool = False):
    """A detector's end: two convolutions, a score far below 0, its Sigmoid; then, if asked, more layers."""
    net = nets.Net()
    x = net.block(net.image("image", (3, 16, 20)), "stem", 8)
    weights = [net.draw("score.weight", (2, 8, 1, 1), 0.1), net.tensor("score.bias", np.full(2, bias, np.float32))]
    x = net.node(op, [net.conv(x, weights, "score")], name="probability")
    if scale is not None:
        x = net.node("Mul", [x, net.tensor("factor", np.full((1, 2, 1, 1), scale, np.float32))], name="scaled")
    if after:
        x = net.conv(x, net.weights("late", (3, 2, 3, 3)), "late")
    return net.finish([x])


def proto_of(graph):
    return ir.to_proto(finished(graph))


def nudged(proto, name, change):
    tensor = next(item for item in proto.graph.initializer if item.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return proto


@pytest.mark.parametrize("bias", [-6.0, -8.0, -12.0, -18.0])
@pytest.mark.parametrize("more", [{}, {"scale": 3.0}, {"after": True}])
def test_a_small_probability_map_passes(nets, bias, more):
    """The runtime's Sigmoid is exact to 1.2e-7 of 1 only, whatever follows it."""
    graph = probability_map(nets, bias, **more)
    report = check_parity(proto_of(graph).SerializeToString(), graph, inputs=16)
    assert report.passed
    (output,) = report.outputs
    assert "Sigmoid" in output.note


def test_what_needs_no_allowance_gets_none(nets):
    graph = probability_map(nets, 0.0)
    (output,) = check_parity(proto_of(graph).SerializeToString(), graph, inputs=8).outputs
    assert output.passed and output.note == "" and output.tolerance < 1e-4


@pytest.mark.parametrize("bias", [-8.0, -12.0])
def test_a_wrong_bias_before_a_sigmoid_is_found(nets, bias):
    """It changes the map by less than the runtime's Sigmoid does, and the score by a thousandth."""
    graph = probability_map(nets, bias)
    broken = nudged(proto_of(graph), "score.bias", lambda array: array + 1e-3)
    report = check_parity(broken.SerializeToString(), graph, inputs=8)
    assert not report.passed and report.divergence.node == "score"


def test_a_wrong_factor_behind_a_sigmoid_is_found(nets):
    graph = probability_map(nets, -12.0, scale=3.0)
    broken = nudged(proto_of(graph), "factor", lambda array: array * 1.01)
    report = check_parity(broken.SerializeToString(), graph, inputs=8)
    assert not report.passed and report.divergence.node == "scaled"


def test_another_function_than_sigmoid_is_found(nets):
    """HardSigmoid(-1.2) is 0.26 and Sigmoid(-1.2) 0.23: no allowance covers that."""
    graph = probability_map(nets, -1.2)
    proto = proto_of(graph)
    next(node for node in proto.graph.node if node.op_type == "Sigmoid").op_type = "HardSigmoid"
    report = check_parity(proto.SerializeToString(), graph, inputs=8)
    assert not report.passed and report.divergence.node == "probability"


TORCH = {
    "Celu": F.celu,
    "Elu": F.elu,
    "HardSigmoid": lambda x: (x * 0.2 + 0.5).clamp(0, 1),
    "HardSwish": F.hardswish,
    "Mish": F.mish,
    "Selu": F.selu,
    "Sigmoid": torch.sigmoid,
}


def test_every_limited_operator_is_measured():
    assert set(TORCH) == set(OPERATOR_ERROR)


@pytest.mark.parametrize("op", sorted(OPERATOR_ERROR))
def test_operators_are_as_exact_as_the_table_says(nets, op):
    """The installed runtime's operator misses no more than the table allows, beyond 6 units of its own result."""
    spread = np.geomspace(1e-20, 40, 100_000)
    x = np.concatenate([np.linspace(-40, 40, 300_000), spread, -spread]).astype(np.float32)
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [x.size]) for name in ("x", "y")]
    node = helper.make_node(op, ["x"], ["y"])
    graph = helper.make_graph([node], "one", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    found = nets.run(model, x, optimise=True)["y"]
    truth = TORCH[op](torch.from_numpy(x).double()).numpy()
    beyond = np.abs(found - truth) - 6 * np.maximum(np.abs(truth) * UNIT, np.finfo(np.float32).smallest_subnormal)
    assert beyond.max() <= operator_error(node)
