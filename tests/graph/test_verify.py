"""Each rule of canonical form, broken on its own and found at its place; and all at once in one report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from trunkline.errors import InvalidModel
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.graph.verify import verify


def network() -> Graph:
    build = GraphBuilder("net")
    x = build.image("image", (3, 8, 8))
    kernel = build.weight("conv.weight", (4, 3, 3, 3), Filler())
    conv = build.node("Conv", [x, kernel], name="conv", attributes={"pads": [1, 1, 1, 1]})
    relu = build.node("Relu", [conv], name="relu")
    sizes = build.tensor("scales", np.array([1, 1, 2, 2], np.float32))
    up = build.node("Resize", [relu, None, sizes], name="up", attributes={"mode": "nearest"})
    return build.finish([up])


def add(graph: Graph, op: str, inputs: list[ir.Value], name: str, **attributes: object) -> ir.Node:
    node = ir.node(op, inputs, attributes=attributes, name=name)  # type: ignore[arg-type]
    node.outputs[0].name = f"{name}.out"
    node.outputs[0].shape = ir.Shape(["N", 4, 16, 16])
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph.model.graph.append(node)
    return node


def output(graph: Graph, value: ir.Value) -> None:
    graph.model.graph.outputs.append(value)


def store(graph: Graph, name: str, *shape: int) -> ir.Value:
    tensor = ir.Tensor(np.zeros(shape, np.float32), name=name)
    value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT), const_value=tensor)
    graph.model.graph.register_initializer(value)
    return value


def set_opset(graph: Graph) -> None:
    graph.model.graph.opset_imports[""] = 17


def second_domain(graph: Graph) -> None:
    graph.model.graph.opset_imports["com.example"] = 1


def ir_version(graph: Graph) -> None:
    graph.model.ir_version = 10


def function(graph: Graph) -> None:
    inner = ir.Graph([], [], nodes=[], name="f", opset_imports={"": 18})
    made = ir.Function("own", "f", "", graph=inner, attributes=[])
    graph.model.functions[made.identifier()] = made


def second_input(graph: Graph) -> None:
    graph.model.graph.inputs.append(ir.Value(name="other", shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.FLOAT)))


def batch_fixed(graph: Graph) -> None:
    graph.input.shape = ir.Shape([1, 3, 8, 8])


def height_open(graph: Graph) -> None:
    graph.input.shape = ir.Shape(["N", 3, "H", 8])


def input_type(graph: Graph) -> None:
    graph.input.type = ir.TensorType(ir.DataType.UINT8)


def node_twice(graph: Graph) -> None:
    graph.node("relu").name = "conv"


def node_unnamed(graph: Graph) -> None:
    graph.node("relu").name = ""


def value_twice(graph: Graph) -> None:
    graph.node("relu").outputs[0].name = "conv"


def value_unnamed(graph: Graph) -> None:
    graph.node("relu").outputs[0].name = None


def wrong_order(graph: Graph) -> None:
    relu, conv = graph.node("relu"), graph.node("conv")
    graph.model.graph.remove(relu)
    graph.model.graph.insert_before(conv, relu)


def dangling(graph: Graph) -> None:
    stray = ir.Value(name="stray", shape=ir.Shape(["N", 4, 8, 8]), type=ir.TensorType(ir.DataType.FLOAT))
    graph.node("relu").replace_input_with(0, stray)


def constant(graph: Graph) -> None:
    node = add(graph, "Constant", [], "c", value_float=1.0)
    node.outputs[0].shape = ir.Shape([])
    output(graph, node.outputs[0])


def foreign(graph: Graph) -> None:
    node = add(graph, "Gelu", [graph.outputs[0]], "gelu")
    node.domain = "com.example"
    output(graph, node.outputs[0])


def branch(graph: Graph) -> None:
    inner = ir.Graph([], [], nodes=[], name="g")
    node = add(graph, "If", [graph.outputs[0]], "if", then_branch=inner)
    output(graph, node.outputs[0])


def shape_unknown(graph: Graph) -> None:
    graph.node("relu").outputs[0].shape = None


def type_unknown(graph: Graph) -> None:
    graph.node("relu").outputs[0].type = None


def batch_lost(graph: Graph) -> None:
    graph.node("relu").outputs[0].shape = ir.Shape([1, 4, 8, 8])


def two_open(graph: Graph) -> None:
    graph.node("relu").outputs[0].shape = ir.Shape(["N", 4, "N", 8])


def other_symbol(graph: Graph) -> None:
    graph.node("relu").outputs[0].shape = ir.Shape(["B", 4, 8, 8])


def empty_shape(graph: Graph) -> None:
    graph.node("relu").outputs[0].shape = ir.Shape(["N", 4, 0, 8])


def weight_shape(graph: Graph) -> None:
    graph.initializers["scales"].shape = ir.Shape([5])


def weight_type(graph: Graph) -> None:
    graph.initializers["scales"].type = ir.TensorType(ir.DataType.INT64)


def weight_empty(graph: Graph) -> None:
    graph.initializers["scales"].const_value = None


def weight_unread(graph: Graph) -> None:
    store(graph, "unread", 3)


def no_output(graph: Graph) -> None:
    graph.model.graph.outputs.clear()


def output_twice(graph: Graph) -> None:
    output(graph, graph.outputs[0])


def output_unwritten(graph: Graph) -> None:
    output(graph, graph.input)


def node_unread(graph: Graph) -> None:
    add(graph, "Relu", [graph.outputs[0]], "dead")


def channels(graph: Graph) -> None:
    node = add(graph, "Conv", [graph.outputs[0], store(graph, "w", 4, 3, 1, 1)], "conv2")
    output(graph, node.outputs[0])


def transposed_channels(graph: Graph) -> None:
    node = add(graph, "ConvTranspose", [graph.outputs[0], store(graph, "w", 3, 4, 1, 1)], "deconv")
    output(graph, node.outputs[0])


BREACHES: dict[Callable[[Graph], None], tuple[str, str]] = {
    set_opset: ("", "expected only the default domain's opset 18"),
    second_domain: ("", "com.example"),
    ir_version: ("", "IR version 10; expected 8"),
    function: ("", "a function"),
    second_input: ("", "2 inputs; expected one image"),
    batch_fixed: ("image", "expected [N, C, H, W]"),
    height_open: ("image", "expected [N, C, H, W]"),
    input_type: ("image", "expected float32"),
    node_twice: ("conv", "a second node of this name"),
    node_unnamed: ("(unnamed)", "a node without a name"),
    value_twice: ("conv", "a second value of this name"),
    value_unnamed: ("(unnamed)", "a value without a name"),
    wrong_order: ("relu", 'reads "conv", which nothing before it writes'),
    dangling: ("relu", 'reads "stray", which nothing before it writes'),
    constant: ("c", "a Constant node"),
    foreign: ("gelu", "com.example"),
    branch: ("if", "control flow"),
    shape_unknown: ("relu", "shape and type are not known"),
    type_unknown: ("relu", "shape and type are not known"),
    batch_lost: ("relu", "expected one free axis N"),
    two_open: ("relu", "expected one free axis N"),
    other_symbol: ("relu", "expected one free axis N"),
    empty_shape: ("relu", "sizes of at least 1"),
    weight_shape: ("scales", "is stored"),
    weight_type: ("scales", "is stored"),
    weight_empty: ("scales", "an initializer without content"),
    weight_unread: ("unread", "an initializer that no node reads"),
    no_output: ("", "no outputs"),
    output_twice: ("", "an output twice"),
    output_unwritten: ("image", "an output that no node writes"),
    node_unread: ("dead", "nothing reads its outputs"),
    channels: ("conv2", "reads 4 channels"),
    transposed_channels: ("deconv", "reads 4 channels"),
}


@pytest.mark.golden
def test_good_graph_is_returned() -> None:
    """A good Graph is returned as it is."""
    graph = network()
    assert verify(graph) is graph


@pytest.mark.properties
def test_no_weight_is_drawn_to_verify() -> None:
    graph = network()
    verify(graph)
    tensor = graph.initializers["conv.weight"].const_value
    assert isinstance(tensor, ir.LazyTensor)
    assert tensor._tensor is None


@pytest.mark.abuse
@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.__name__)
def test_a_breach_is_found_at_its_place(breach: Callable[[Graph], None]) -> None:
    graph = network()
    breach(graph)
    with pytest.raises(InvalidModel) as caught:
        verify(graph)
    place, text = BREACHES[breach]
    assert any(text in problem.message and place in problem.place for problem in caught.value.problems), caught.value


@pytest.mark.abuse
def test_all_breaches_are_reported_together() -> None:
    graph = network()
    for breach in (set_opset, ir_version, input_type, weight_unread, node_unread):
        breach(graph)
    with pytest.raises(InvalidModel) as caught:
        verify(graph)
    assert len(caught.value.problems) == 5


@pytest.mark.abuse
def test_a_grouped_convolution_agrees_with_its_weight() -> None:
    build = GraphBuilder("net")
    x = build.image("image", (6, 8, 8))
    y = build.node("Conv", [x, build.weight("w", (6, 1, 3, 3), Filler())], name="depthwise", attributes={"group": 6})
    z = build.node("ConvTranspose", [y, build.weight("v", (6, 2, 3, 3), Filler())], name="up", attributes={"group": 3})
    verify(build.finish([z]))
