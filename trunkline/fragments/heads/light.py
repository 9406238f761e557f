"""A light head: one 1×1 and one 3×3 convolution, with sub-pixel up-sampling where features are coarse.

The last convolution predicts r×r pixels per position, which DepthToSpace lays out (sub-pixel convolution,
Shi et al. 2016), so that a backbone of output stride 32 still predicts at stride 8 for hardly any work.
"""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.fragments.heads.base import HeadKind
from trunkline.fragments.layers import batch_norm, convolution
from trunkline.fragments.map_size import Size
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph

WIDTH = 64
OUTPUT_STRIDE = 8


class LightHead(HeadKind):
    """The output is ``[N, channels, h·r, w·r]`` with r = stride / 8, at least 1."""

    name = "light"

    def make(self, maps: Sequence[Size], channels: int, stride: int) -> Graph:
        """Return the head; see :meth:`HeadKind.make`."""
        # Features that are finer than the output stride stay as they are.
        scale = max(1, stride // OUTPUT_STRIDE)
        builder = GraphBuilder(self.name)
        x = builder.image("features", maps[-1])
        x = convolution(builder, x, "conv1", WIDTH, bias=False)
        x = batch_norm(builder, x, "norm1")
        x = builder.node("Relu", [x], name="relu1")
        x = convolution(builder, x, "conv2", channels * scale * scale, kernel=3)
        if scale > 1:
            # CRD is the order of torch's PixelShuffle: the r×r pixels of one channel lie together.
            x = builder.node("DepthToSpace", [x], name="upsample", attributes={"blocksize": scale, "mode": "CRD"})
        return builder.finish([x])
