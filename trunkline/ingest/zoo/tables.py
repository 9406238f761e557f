"""The architectures of the packaged backbones, as the tables of their papers state them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResidualStage:
    """A run of basic blocks: two 3x3 convolutions each, with a shortcut around them.

    ``stride`` is that of the first block; ``dilation`` that of every 3x3 convolution.
    """

    channels: int
    blocks: int
    stride: int = 1
    dilation: int = 1


@dataclass(frozen=True, slots=True)
class ResidualNet:
    """A network of basic blocks: one convolution, an optional max pool, the stages."""

    name: str
    image: tuple[int, int, int]
    stem: tuple[int, int]
    """Channels and kernel of the first convolution, whose stride is 2."""
    pooled: bool
    stages: tuple[ResidualStage, ...]


@dataclass(frozen=True, slots=True)
class InvertedStage:
    """A run of inverted residuals: 1x1 expansion, depthwise convolution, linear 1x1 projection."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    kernel: int = 3


@dataclass(frozen=True, slots=True)
class InvertedNet:
    """A network of inverted residuals, between a 3x3 convolution of stride 2 and a 1x1 convolution."""

    name: str
    activation: str
    stages: tuple[InvertedStage, ...]
    image: tuple[int, int, int] = (3, 224, 224)
    stem: int = 32
    last: int = 1280


# He et al. 2016, table 1, 34 layers. Stages 3 and 4 keep the resolution and dilate instead, as in AdaShare
# (Sun et al. 2020): output stride 8.
DEEPLAB_RESNET34 = ResidualNet(
    "deeplab_resnet34",
    image=(3, 224, 224),
    stem=(64, 7),
    pooled=True,
    stages=(
        ResidualStage(64, 3),
        ResidualStage(128, 4, stride=2),
        ResidualStage(256, 6, dilation=2),
        ResidualStage(512, 3, dilation=4),
    ),
)

# Ours, for demonstrations: small enough to train on a CPU in seconds, with all that a large one has
# (projection shortcuts, a change of resolution). Output stride 4.
TINY = ResidualNet(
    "tiny",
    image=(3, 64, 96),
    stem=(16, 3),
    pooled=False,
    stages=(ResidualStage(16, 2), ResidualStage(32, 2, stride=2), ResidualStage(48, 2)),
)

# Sandler et al. 2018, table 2.
MOBILENETV2 = InvertedNet(
    "mobilenetv2",
    activation="ReLU6",
    stages=(
        InvertedStage(1, 16, 1, 1),
        InvertedStage(6, 24, 2, 2),
        InvertedStage(6, 32, 3, 2),
        InvertedStage(6, 64, 4, 2),
        InvertedStage(6, 96, 3, 1),
        InvertedStage(6, 160, 3, 2),
        InvertedStage(6, 320, 1, 1),
    ),
)

# Tan et al. 2019, figure 7, without the squeeze-and-excitation of its later variant.
MNASNET = InvertedNet(
    "mnasnet",
    activation="ReLU",
    stages=(
        InvertedStage(1, 16, 1, 1),
        InvertedStage(3, 24, 3, 2),
        InvertedStage(3, 40, 3, 2, kernel=5),
        InvertedStage(6, 80, 3, 2, kernel=5),
        InvertedStage(6, 96, 2, 1),
        InvertedStage(6, 192, 4, 2, kernel=5),
        InvertedStage(6, 320, 1, 1),
    ),
)

NETS: tuple[ResidualNet | InvertedNet, ...] = (DEEPLAB_RESNET34, MNASNET, MOBILENETV2, TINY)
