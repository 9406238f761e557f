"""DeepLabv3+'s decoder (Chen et al. 2018, Sec. 3.1): coarse features with context, sharpened by fine ones.

1. ASPP on the coarsest map: one 1×1 and three atrous separable 3×3 convolutions, and the image's mean, joined by a
   1×1 convolution. The mean joins by addition after a 1×1 convolution of its own, which is the same as the paper's
   concatenation of its up-sampled copy, without the copy.
2. The result is up-sampled to the finest map's size and concatenated with that map, projected to 48 channels.
3. Two separable 3×3 convolutions and the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.errors import InvalidConfig
from trunkline.fragments.heads.base import HeadKind
from trunkline.fragments.layers import batch_norm, convolution, normalised, resized
from trunkline.fragments.map_size import Size
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph, shape_of

WIDTH = 256
LOW_WIDTH = 48
RATES = (6, 12, 18)
"""Dilations at output stride 16 or more; they double at stride 8 (Sec. 3.1), where positions lie twice as close."""


class DeepLabV3PlusHead(HeadKind):
    """Reads the first and the last feature map; the output is ``[N, channels, h, w]`` at the first one's size."""

    name = "deeplabv3plus"
    reads_all = True

    def make(self, maps: Sequence[Size], channels: int, stride: int) -> Graph:
        """Return the head; see :meth:`HeadKind.make`."""
        if len(maps) < 2:
            raise InvalidConfig(
                "the head deeplabv3plus reads a fine and a coarse feature map; the backbone gives one",
                advice="name two with --features FINE,COARSE, or use the head `light` or `aspp`",
            )
        builder = GraphBuilder(self.name)
        inputs = [builder.image(f"features{index}", size) for index, size in enumerate(maps)]
        # Rule 1.
        factor = 1 if stride >= 16 else 2
        x = _aspp(builder, inputs[-1], [rate * factor for rate in RATES])
        # Rule 2: the many channels of a fine map would outweigh the coarse one, so they are reduced (Sec. 3.1).
        x = resized(builder, x, maps[0][1:], "upsample", "linear")
        low = normalised(builder, inputs[0], "low", LOW_WIDTH)
        x = builder.node("Concat", [x, low], name="join", attributes={"axis": 1})
        # Rule 3.
        for index in (1, 2):
            x = normalised(builder, x, f"decoder{index}", WIDTH, kernel=3, depthwise=True)
        return builder.finish([convolution(builder, x, "prediction", channels)])


def _aspp(builder: GraphBuilder, x: ir.Value, rates: Sequence[int]) -> ir.Value:
    branches = [normalised(builder, x, "aspp.point", WIDTH)]
    size = max(int(side or 1) for side in shape_of(x)[2:])
    for index, rate in enumerate(rates):
        # On a map smaller than the rate, every tap but the middle one would read padding.
        dilation = max(1, min(rate, size - 1))
        name = f"aspp.atrous{index}"
        branches.append(normalised(builder, x, name, WIDTH, kernel=3, dilation=dilation, depthwise=True))
    joined = builder.node("Concat", branches, name="aspp.concat", attributes={"axis": 1})
    # A 1×1 convolution of a concatenation is a sum of 1×1 convolutions: the mean's part is taken out of it, and stays
    # one pixel until Add broadcasts it.
    joined = convolution(builder, joined, "aspp.join", WIDTH, bias=False)
    mean = builder.node("GlobalAveragePool", [x], name="aspp.mean")
    # Without BatchNormalization: a batch of one image has one value a channel here, which cannot be normalised.
    mean = builder.node("Relu", [convolution(builder, mean, "aspp.image", WIDTH)], name="aspp.image.relu")
    mean = convolution(builder, mean, "aspp.image.join", WIDTH, bias=False)
    total = builder.node("Add", [joined, mean], name="aspp.sum")
    return builder.node("Relu", [batch_norm(builder, total, "aspp.norm")], name="aspp.relu")
