"""The papers' head: atrous spatial pyramid pooling, four dilated branches summed.

AdaShare, AutoMTL and TreeMTL all use it (AdaShare: Sun et al. 2020). It is heavy: on 512 channels one head
holds 23 M parameters and costs as many MACs as a whole ResNet-34 of output stride 8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from trunkline.fragments.heads.base import HeadKind
from trunkline.fragments.layers import convolution
from trunkline.fragments.map_size import Size
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph

RATES = (6, 12, 18, 24)
WIDTH = 1024


class AsppHead(HeadKind):
    """The output is ``[N, channels, h, w]``, of the features' size."""

    name = "aspp"

    def make(self, maps: Sequence[Size], channels: int, stride: int) -> Graph:
        """Return the head; see :meth:`HeadKind.make`."""
        builder = GraphBuilder(self.name)
        x = builder.image("features", maps[-1])
        # One setting for all Dropouts: an input since opset 12.
        ratio = builder.tensor("dropout.ratio", np.array(0.5, dtype=np.float32))
        total: ir.Value | None = None
        for index, rate in enumerate(RATES):
            y = _branch(builder, x, ratio, f"branch{index}", rate, channels)
            total = y if total is None else builder.node("Add", [total, y], name=f"sum{index}")
        assert total is not None
        return builder.finish([total])


def _branch(builder: GraphBuilder, x: ir.Value, ratio: ir.Value, name: str, rate: int, channels: int) -> ir.Value:
    # Padded by its own rate, every branch keeps the map's size, so that the branches can be added.
    y = convolution(builder, x, f"{name}.conv1", WIDTH, kernel=3, dilation=rate)
    y = builder.node("Relu", [y], name=f"{name}.relu1")
    y = builder.node("Dropout", [y, ratio], name=f"{name}.dropout1")
    y = convolution(builder, y, f"{name}.conv2", WIDTH)
    y = builder.node("Relu", [y], name=f"{name}.relu2")
    y = builder.node("Dropout", [y, ratio], name=f"{name}.dropout2")
    return convolution(builder, y, f"{name}.conv3", channels)
