"""Constant folding: what is computed from stored tensors alone is stored, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from trunkline.export.passes import FoldConstants
from trunkline.graph.graph import CONSTANT, ROLE_KEY, Graph, array_of

pytestmark = pytest.mark.golden


def folded(graph: Graph, most_elements: int = 10_000) -> tuple[Graph, int]:
    result = graph.copy()
    return result, FoldConstants(most_elements)(result.model.graph)


def net_with(nets: Any) -> tuple[Any, ir.Value]:
    net = nets.Net()
    return net, net.image("image", (3, 12, 16))


def test_computed_weight_keeps_its_name_and_still_trains(nets: Any) -> None:
    """It is rounded once, not at each step on the way."""
    net, image = net_with(nets)
    factors = [net.draw("w", (4, 3, 3, 3)), net.draw("gain", (4, 1, 1, 1)), net.draw("scale", (1, 3, 1, 1))]
    first = net.node("Mul", factors[:2], name="first")
    product = net.node("Mul", [first, factors[2]], name="product")
    graph = net.finish([net.conv(image, [product], "out")])
    result, gone = folded(graph)
    assert gone == 2
    assert list(result.initializers) == ["product"]
    assert ROLE_KEY not in result.initializers["product"].metadata_props
    exact = np.prod(np.broadcast_arrays(*(array_of(value).astype(np.float64) for value in factors)), axis=0)
    np.testing.assert_array_equal(array_of(result.initializers["product"]), exact.astype(np.float32))


def test_what_formulas_alone_compute_is_a_constant(nets: Any) -> None:
    net, image = net_with(nets)
    grid = net.node("Exp", [net.constant("grid", np.ones((1, 3, 12, 16), np.float32))], name="exp")
    result, _ = folded(net.finish([net.node("Add", [image, grid], name="out")]))
    assert result.initializers["exp"].metadata_props[ROLE_KEY] == CONSTANT


def test_parts_of_a_table_are_stored_apart(nets: Any) -> None:
    """A Split has several results, of uneven size, one of which nothing reads."""
    net, image = net_with(nets)
    table = net.node("Abs", [net.draw("table", (9, 3, 1, 1))], name="abs")
    net.node(
        "Split",
        [table, net.tensor("sizes", np.array([4, 3, 2]))],
        name="split",
        attributes={"axis": 0},
        outputs=["a", "b", "c"],
    )
    parts = list(net.last.outputs)
    graph = net.finish([net.conv(image, [parts[0]], "out0"), net.conv(image, [parts[2]], "out1")])
    result, gone = folded(graph)
    assert gone == 2
    assert sorted(result.initializers) == ["a", "c"]
    image_in = nets.picture()
    for name, expected in nets.run(graph, image_in).items():
        np.testing.assert_array_equal(nets.run(result, image_in)[name], expected)


@pytest.mark.parametrize(("most", "nodes"), [(200, 2), (10_000, 1)])
def test_few_numbers_repeated_to_many_stay_few(nets: Any, most: int, nodes: int) -> None:
    net, image = net_with(nets)
    wide = net.node("Expand", [net.draw("few", (1, 3, 1, 1)), net.tensor("to", np.array([1, 3, 12, 16]))], name="wide")
    result, _ = folded(net.finish([net.node("Add", [image, wide], name="out")]), most)
    assert len(result.nodes) == nodes


def test_large_weight_that_grows_no_larger_is_stored(nets: Any) -> None:
    net, image = net_with(nets)
    kernel = net.node("Neg", [net.draw("w", (4, 3, 3, 3))], name="negative")
    result, _ = folded(net.finish([net.conv(image, [kernel], "out")]), most_elements=10)
    assert list(result.initializers) == ["negative"]


def test_nodes_that_an_image_runs_through_are_left_alone(nets: Any) -> None:
    """Also those that compute nothing: they may carry a name or a task that would be lost."""
    net, image = net_with(nets)
    kernel = net.node("Neg", [net.draw("w", (4, 3, 3, 3))], name="negative")
    x = net.tagged("Identity", [net.conv(image, [kernel], "conv", tasks="a")], "copy", "a", {})
    x = net.tagged("Concat", [x], "joined", "a", {"axis": 1})
    graph = net.finish([net.tagged("Dropout", [x], "out", "a,b", {})])
    result, _ = folded(graph)
    kept = [(node.name, node.op_type, dict(node.metadata_props)) for node in graph.nodes if node.name != "negative"]
    assert [(node.name, node.op_type, dict(node.metadata_props)) for node in result.nodes] == kept
