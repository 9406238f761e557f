"""A feature pyramid with a merged head: FPN (Lin et al. 2017, Sec. 3) as a dense predictor (Kirillov et al. 2019).

1. Top-down: every map is projected to one width by a 1×1 convolution, the coarser sum is up-sampled by repetition
   and added, and a 3×3 convolution smooths each sum (Lin et al., Fig. 3).
2. Merged: every level is resized to the finest one's size, by 3×3 convolutions with a bilinear up-sampling after
   each, and all are added (Kirillov et al., Fig. 3).

BatchNormalization replaces their GroupNormalization, because it can be folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from trunkline.errors import InvalidConfig
from trunkline.fragments.heads.base import HeadKind
from trunkline.fragments.layers import convolution, normalised, resized
from trunkline.fragments.map_size import Size
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph

PYRAMID_WIDTH = 256
WIDTH = 128

Extent = tuple[int, int]
"""Height and width."""


class FpnHead(HeadKind):
    """Reads all feature maps; the output is ``[N, channels, h, w]`` at the first map's size."""

    name = "fpn"
    reads_all = True

    def make(self, maps: Sequence[Size], channels: int, stride: int) -> Graph:
        """Return the head; see :meth:`HeadKind.make`."""
        if len(maps) < 2:
            raise InvalidConfig(
                "the head fpn reads several feature maps; the backbone gives one",
                advice="name them with --features FINE,…,COARSE, or use the head `light` or `aspp`",
            )
        builder = GraphBuilder(self.name)
        inputs = [builder.image(f"features{index}", size) for index, size in enumerate(maps)]
        sizes = [size[1:] for size in maps]
        # Rule 2, from the coarsest level on, each through the sizes of all finer ones.
        total: ir.Value | None = None
        for index, level in reversed(list(enumerate(_top_down(builder, inputs, sizes)))):
            merged = _to_finest(builder, level, sizes[: index + 1], f"merge{index}")
            total = merged if total is None else builder.node("Add", [total, merged], name=f"merge{index}.sum")
        assert total is not None
        return builder.finish([convolution(builder, total, "prediction", channels)])


def _top_down(builder: GraphBuilder, maps: Sequence[ir.Value], sizes: Sequence[Extent]) -> list[ir.Value]:
    """Return the pyramid's levels by rule 1, the finest first."""
    levels: list[ir.Value] = []
    above: ir.Value | None = None
    for index in reversed(range(len(maps))):
        total = convolution(builder, maps[index], f"lateral{index}", PYRAMID_WIDTH)
        if above is not None:
            up = resized(builder, above, sizes[index], f"down{index}", "nearest")
            total = builder.node("Add", [total, up], name=f"down{index}.sum")
        # The next finer map adds the sum itself, not what its 3×3 convolution makes of it.
        above = total
        levels.append(convolution(builder, total, f"level{index}", PYRAMID_WIDTH, kernel=3))
    return levels[::-1]


def _to_finest(builder: GraphBuilder, x: ir.Value, sizes: Sequence[Extent], name: str) -> ir.Value:
    """Resize a level from the last of ``sizes`` to the first, stage by stage; the finest has one convolution too."""
    for stage, size in enumerate(reversed(sizes[:-1] or sizes)):
        x = normalised(builder, x, f"{name}.conv{stage}", WIDTH, kernel=3)
        x = resized(builder, x, size, f"{name}.up{stage}", "linear")
    return x
