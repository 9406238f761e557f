"""Parity: operators that the runtime computes less exactly than torch pass, and hide no defect of the same size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

from trunkline.export.formats.onnx_model import finished
from trunkline.export.parity.check import check_parity
from trunkline.export.parity.runtime_precision import OPERATOR_ERROR, UNIT, operator_error
from trunkline.graph.graph import Graph

if TYPE_CHECKING:
    from tests.export.conftest import Nets


pytestmark = pytest.mark.parity


def probability_map(
    nets: type[Nets], bias: float, *, op: str = "Sigmoid", scale: float | None = None, after: bool = False
) -> Graph:
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


def proto_of(graph: Graph) -> onnx.ModelProto:
    return ir.to_proto(finished(graph))


def nudged(proto: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> onnx.ModelProto:
    tensor = next(item for item in proto.graph.initializer if item.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return proto


@pytest.mark.parametrize("bias", [-6.0, -8.0, -12.0, -18.0])
@pytest.mark.parametrize("more", [{}, {"scale": 3.0}, {"after": True}])
def test_small_probability_map_passes(nets: Any, bias: float, more: dict[str, Any]) -> None:
    """The runtime's Sigmoid is exact to 1.2e-7 of 1 only, whatever follows it."""
    graph = probability_map(nets, bias, **more)
    report = check_parity(proto_of(graph).SerializeToString(), graph, inputs=16)
    assert report.passed
    (output,) = report.outputs
    assert "Sigmoid" in output.note


def test_unneeded_allowance_is_not_given(nets: Any) -> None:
    graph = probability_map(nets, 0.0)
    (output,) = check_parity(proto_of(graph).SerializeToString(), graph, inputs=8).outputs
    assert output.passed and output.note == "" and output.tolerance < 1e-4


@pytest.mark.parametrize("bias", [-8.0, -12.0])
def test_wrong_bias_before_sigmoid_is_found(nets: Any, bias: float) -> None:
    """It changes the map by less than the runtime's Sigmoid does, and the score by a thousandth."""
    graph = probability_map(nets, bias)
    broken = nudged(proto_of(graph), "score.bias", lambda array: array + 1e-3)
    report = check_parity(broken.SerializeToString(), graph, inputs=8)
    assert not report.passed and report.divergence.node == "score"


def test_wrong_factor_behind_sigmoid_is_found(nets: Any) -> None:
    graph = probability_map(nets, -12.0, scale=3.0)
    broken = nudged(proto_of(graph), "factor", lambda array: array * 1.01)
    report = check_parity(broken.SerializeToString(), graph, inputs=8)
    assert not report.passed and report.divergence.node == "scaled"


def test_other_function_than_sigmoid_is_found(nets: Any) -> None:
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


def test_every_limited_operator_is_measured() -> None:
    assert set(TORCH) == set(OPERATOR_ERROR)


@pytest.mark.parametrize("op", sorted(OPERATOR_ERROR))
def test_operators_are_as_exact_as_listed(nets: Any, op: str) -> None:
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
    assert beyond.max() <= operator_error(node, {}, truth)


def normalisation(size: int) -> tuple[onnx.ModelProto, onnx.NodeProto]:
    node = helper.make_node("InstanceNormalization", ["x", "scale", "bias"], ["y"], epsilon=1e-5)
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 16, size, size]) for name in ("x", "y")]
    stored = [numpy_helper.from_array(np.full(16, number, np.float32), name) for name, number in NUMBERS.items()]
    graph = helper.make_graph([node], "one", info[:1], info[1:], stored)
    return node, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


NUMBERS = {"scale": 1.5, "bias": 0.25}


@pytest.mark.parametrize("size", [4, 28, 112])
@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-2, 1.0])
def test_instance_normalisation_is_as_exact_as_listed(nets: Any, size: int, spread: float) -> None:
    """Of channels whose mean is far from 0, up to those that are the same everywhere."""
    node, model = normalisation(size)
    rng = np.random.default_rng(size)
    means = rng.uniform(0.1, 4.0, (1, 16, 1, 1))
    x = (means + spread * rng.standard_normal((1, 16, size, size))).astype(np.float32)
    x[:, 0] = 1.0 + rng.standard_normal((size, size)) * 0.1  # one channel shows the scale
    found = nets.run(model, x, optimise=True)["y"]
    scale, bias = (torch.full((16,), number).double() for number in NUMBERS.values())
    truth = F.instance_norm(torch.from_numpy(x).double(), weight=scale, bias=bias, eps=1e-5).numpy()
    allowed = operator_error(node, {"x": x}, truth)
    beyond = np.abs(found - truth) - 6 * UNIT * np.abs(truth).max()
    assert (beyond <= allowed).all()
    assert allowed.max() < 200 * size**2 * UNIT * means.max()


def even_channels(nets: type[Nets]) -> Graph:
    """Where an image is even, a convolution gives even channels, whose means an InstanceNormalization takes off."""
    net = nets.Net()
    x = net.image("image", (3, 64, 80))
    x = net.conv(
        x,
        [net.draw("first.weight", (8, 3, 1, 1), 0.4), net.tensor("first.bias", np.full(8, 2.7, np.float32))],
        "first",
    )
    stored = [net.tensor(f"norm.{name}", np.full(8, number, np.float32)) for name, number in NUMBERS.items()]
    x = net.node("InstanceNormalization", [x, *stored], name="norm", attributes={"epsilon": 1e-5})
    return net.finish([net.conv(x, net.weights("last", (4, 8, 3, 3)), "last")])


def test_even_channels_pass(nets: Any) -> None:
    graph = even_channels(nets)
    report = check_parity(proto_of(graph).SerializeToString(), graph, inputs=8)
    assert report.passed
    assert "InstanceNormalization" in report.outputs[0].note


@pytest.mark.parametrize(("name", "node"), [("first.bias", "first"), ("norm.bias", "norm"), ("last.weight", "last")])
def test_wrong_weight_around_normalisation_is_found(nets: Any, name: str, node: str) -> None:
    """A wrong weight before or behind an InstanceNormalization is found."""
    graph = even_channels(nets)
    broken = nudged(proto_of(graph), name, lambda array: array * 1.01)
    report = check_parity(broken.SerializeToString(), graph, inputs=8)
    assert not report.passed and report.divergence.node == node
