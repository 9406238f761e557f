"""A head for one label per image: global average pooling and a linear layer."""

from __future__ import annotations

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph


def linear(features: tuple[int, int, int], channels: int, stride: int) -> Graph:
    """Return the head for ``features`` ``[C, h, w]``; the output is ``[N, channels]``."""
    builder = GraphBuilder("linear")
    x = builder.image("features", features)
    x = builder.node("GlobalAveragePool", [x], name="pool")
    x = builder.node("Flatten", [x], name="flatten", attributes={"axis": 1})
    weight = builder.weight("linear.weight", (channels, features[0]), Filler("msra"))
    bias = builder.weight("linear.bias", (channels,), Filler("constant", 0.0))
    attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    return builder.finish([builder.node("Gemm", [x, weight, bias], name="linear", attributes=attributes)])
