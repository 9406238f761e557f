"""A head for one label per image: global average pooling and a linear layer."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.fragments.heads.base import HeadKind
from trunkline.fragments.map_size import Size
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph


class LinearHead(HeadKind):
    """The output is ``[N, channels]``."""

    name = "linear"

    def make(self, maps: Sequence[Size], channels: int, stride: int) -> Graph:
        """Return the head; see :meth:`HeadKind.make`."""
        builder = GraphBuilder(self.name)
        x = builder.image("features", maps[-1])
        x = builder.node("GlobalAveragePool", [x], name="pool")
        x = builder.node("Flatten", [x], name="flatten", attributes={"axis": 1})
        weight = builder.weight("linear.weight", (channels, maps[-1][0]), Filler("msra"))
        bias = builder.weight("linear.bias", (channels,), Filler("constant", 0.0))
        attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
        return builder.finish([builder.node("Gemm", [x, weight, bias], name="linear", attributes=attributes)])
