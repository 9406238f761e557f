"""Which convolution makes the channels of a block."""

from __future__ import annotations

import pytest
from backbones import BACKBONES, conv, two_taps, unit

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph
from trunkline.graph.output_layer import output_convolution
from trunkline.sharing.backbone import Backbone

pytestmark = pytest.mark.golden

EXPECTED = {
    "chain": ["conv0", "conv1", "conv2", "valid"],
    "residual": ["stem", "a2", "b2"],
    "mobile": ["stem", "project0", "expand1", None, "project1", None],
    "taps": ["stem", "a2", "b1", "b2"],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_last_of_the_longer_branch(name: str) -> None:
    """Through pooling, sums and normalisation; not that of a shortcut; none of branches that are put side by side."""
    backbone = Backbone({**BACKBONES, "taps": two_taps}[name]())
    found = []
    for block in backbone.table("block").units:
        made_by = output_convolution([backbone.nodes[node] for node in block.nodes], backbone.values[block.output])
        found.append(made_by and made_by.name)
    assert found == EXPECTED[name]


def attended() -> Graph:
    b = GraphBuilder("attended")
    x = unit(b, b.image("x", (3, 8, 8)), "body", 6)
    gate = unit(b, b.node("GlobalAveragePool", [x], name="mean"), "squeeze", 2, kernel=1)
    gate = b.node("Sigmoid", [conv(b, gate, "excite", 6, kernel=1)], name="gate")
    return b.finish([b.node("Mul", [x, gate], name="scaled")])


def test_gates_make_no_channels() -> None:
    """A squeeze and excitation is the longest way to its block's end, but only scales what the body made."""
    graph = attended()
    assert output_convolution(graph.nodes, graph.outputs[0]).name == "body"


def test_depthwise_ends_are_walked_through() -> None:
    b = GraphBuilder("separable")
    x = unit(b, b.image("x", (3, 8, 8)), "dense", 6, kernel=1)
    graph = b.finish([unit(b, x, "depthwise", 6, group=6)])
    assert output_convolution(graph.nodes, graph.outputs[0]).name == "dense"


def test_what_lies_before_the_block_does_not_count() -> None:
    graph = BACKBONES["residual"]()
    tail = [graph.node("a_relu")]
    assert output_convolution(tail, tail[0].outputs[0]) is None
