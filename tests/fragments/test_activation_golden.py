"""Which activation a value comes out of, and what is added for it."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from backbones import conv, mobile, residual

from trunkline.fragments.activation import Activation, activation_of
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden

Write = Callable[[GraphBuilder, ir.Value], ir.Value]


def relu(b: GraphBuilder, x: ir.Value, name: str = "relu") -> ir.Value:
    return b.node("Relu", [x], name=name)


def clip(b: GraphBuilder, x: ir.Value) -> ir.Value:
    low, high = (b.tensor(key, np.array(bound, np.float32)) for key, bound in (("low", 0), ("high", 6)))
    return b.node("Clip", [x, low, high], name="clip")


def leaky(b: GraphBuilder, x: ir.Value) -> ir.Value:
    return b.node("LeakyRelu", [x], name="leaky", attributes={"alpha": 0.25})


def swish(b: GraphBuilder, x: ir.Value) -> ir.Value:
    return b.node("Mul", [b.node("Sigmoid", [x], name="gate"), x], name="swish")


def prelu(b: GraphBuilder, x: ir.Value) -> ir.Value:
    return b.node("PRelu", [x, b.weight("slope", (3, 1, 1), Filler("constant", 0.25))], name="prelu")


WRITTEN: dict[str, tuple[Write, Activation]] = {
    "relu": (relu, Activation(op="Relu")),
    "clip": (clip, Activation(op="Clip", bounds=(0, 6))),
    "leaky": (leaky, Activation(op="LeakyRelu", attributes=(("alpha", 0.25),))),
    "swish": (swish, Activation(op="Sigmoid", gate=True)),
    "prelu": (prelu, Activation(op="PRelu")),
}
POOL = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4, "dilations": [1, 1], "ceil_mode": 0}


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
def test_found_activations_compute_what_was_there(name: str, pooled: bool) -> None:
    """What is found behind a block, be it pooled, and written again, is the same function."""
    write, expected = WRITTEN[name]
    b = GraphBuilder("net")
    y = write(b, b.image("x", (3, 4, 4)))
    found = activation_of(b.node("MaxPool", [y], name="pool", attributes=POOL) if pooled else y)
    assert found == expected
    assert Activation.model_validate(json.loads(json.dumps(found.to_json()))) == found
    c = GraphBuilder("again")
    ours = Twin(c.finish([found.add(c, c.image("x", (3, 4, 4)), "act")]))
    theirs = Twin(b.finish([y]))
    x = 8 * torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(list(ours(x).values())[0], list(theirs(x).values())[0])


def test_linear_ends_have_no_activation() -> None:
    """A bottleneck's projection, a sum, a product of a map and an attention, and the image itself."""
    graph = mobile()
    assert activation_of(graph.node("project1_bn").outputs[0]) is None
    assert activation_of(graph.node("add0").outputs[0]) is None
    assert activation_of(residual().node("a_add").outputs[0]) is None
    assert activation_of(graph.input) is None
    b = GraphBuilder("attention")
    x = b.image("x", (3, 4, 4))
    gate = b.node("Sigmoid", [conv(b, x, "attend", 3)], name="gate")
    assert activation_of(b.node("Mul", [x, gate], name="attended")) is None


def test_branches_agree_or_have_none() -> None:
    """Maps put behind each other end in an activation if all of them do, in the same."""
    assert activation_of(mobile().node("concat").outputs[0]) == Activation(op="Relu")
    b = GraphBuilder("branches")
    x = b.image("x", (3, 4, 4))
    mixed = b.node("Concat", [relu(b, x), clip(b, x)], name="mixed", attributes={"axis": 1})
    partly = b.node("Concat", [relu(b, x, "other"), conv(b, x, "c", 3)], name="partly", attributes={"axis": 1})
    assert activation_of(mixed) is None and activation_of(partly) is None


def test_dense_concatenations_are_walked_once() -> None:
    """Sixty maps, each of the two before it: more paths than could be walked one by one."""
    b = GraphBuilder("dense")
    first = relu(b, b.image("x", (1, 2, 2)))
    window = [b.tensor(key, np.array([number])) for key, number in (("start", 0), ("end", 2), ("axis", 3))]
    values = [first, first]
    for number in range(60):
        both = b.node("Concat", values[-2:], name=f"both{number}", attributes={"axis": 3})
        values.append(b.node("Slice", [both, *window], name=f"slice{number}"))
    assert activation_of(b.finish(values[-1:]).outputs[0]) == Activation(op="Relu")
