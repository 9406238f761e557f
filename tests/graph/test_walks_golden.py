"""Golden: what a walk from a value comes to first, past the nodes that only hand it on."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.walks import before, first_behind, first_readers

pytestmark = pytest.mark.golden

FUNCTIONS = frozenset({"PRelu", "Relu", "Sigmoid"})


def net() -> dict[str, ir.Value]:
    """A convolution that two functions in a row and a third read, joined again: conv, relu, sigmoid, other, sum."""
    b = GraphBuilder("net")
    weight = b.weight("w", [4, 4, 3, 3], Filler())
    conv = b.node("Conv", [b.image("x", [4, 8, 8]), weight], name="conv")
    relu = b.node("Relu", [conv], name="relu")
    sigmoid = b.node("Sigmoid", [relu], name="sigmoid")
    other = b.node("Relu", [conv], name="other")
    b.node("Add", [sigmoid, other], name="sum")
    b.node("PRelu", [relu, other], name="sloped")
    return {value.name or "": value for node in b.finish([b.last.outputs[0]]).nodes for value in node.outputs}


def is_function(node: ir.Node) -> bool:
    return node.op_type in FUNCTIONS


def test_chain_ends_at_another_operator() -> None:
    values = net()
    assert before(values["sigmoid"], FUNCTIONS) is values["conv"]
    assert before(values["conv"], FUNCTIONS) is values["conv"]


def test_chain_ends_where_two_values_are_read() -> None:
    """A PRelu whose slope is computed from the image is made of two values, not of one."""
    values = net()
    assert before(values["sloped"], FUNCTIONS) is values["sloped"]


def test_walk_back_finds_each_value_once() -> None:
    values = net()
    found = first_behind(values["sum"], lambda value: value in (values["conv"], values["relu"]))
    assert found == [values["relu"], values["conv"]]


def test_readers_behind_functions() -> None:
    """Functions hand the value on; what is behind each of them is found once."""
    values = net()
    assert [node.name for node in first_readers(values["conv"], is_function)] == ["sum"]
