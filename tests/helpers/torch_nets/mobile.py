"""MobileNet v2 (Sandler et al. 2018), MobileNet v3-Large (Howard et al. 2019), EfficientNet-B0 (Tan and Le 2019)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def divisible(channels: float, by: int = 8) -> int:
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeezed: int, act: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.act, self.gate = act, gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc2(self.act(self.fc1(self.avgpool(x)))))


class StochasticDepth(nn.Module):
    """The identity in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.bernoulli(torch.full([x.shape[0], 1, 1, 1], 0.8)) / 0.8


class Inverted(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection, and a sum where shapes agree."""

    def __init__(
        self,
        before: int,
        hidden: int,
        after: int,
        kernel: int,
        stride: int,
        act: type[nn.Module],
        squeezed: int = 0,
        gate: type[nn.Module] = nn.Sigmoid,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden != before:
            layers += [nn.Conv2d(before, hidden, 1, bias=False), nn.BatchNorm2d(hidden, eps), act()]
        layers.append(nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False))
        layers += [nn.BatchNorm2d(hidden, eps), act()]
        if squeezed:
            inner = nn.ReLU() if gate is nn.Hardsigmoid else nn.SiLU()
            layers.append(SqueezeExcite(hidden, squeezed, inner, gate()))
        layers += [nn.Conv2d(hidden, after, 1, bias=False), nn.BatchNorm2d(after, eps)]
        self.block = nn.Sequential(*layers)
        self.drop = StochasticDepth()
        self.shortcut = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.block(x)) if self.shortcut else self.block(x)


class Mobile(nn.Module):
    """Stem, blocks, last convolution, pooling, classifier."""

    def __init__(
        self, stem: int, blocks: Sequence[nn.Module], last: tuple[int, int], head: nn.Module, act: type
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), act())
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.Conv2d(*last, 1, bias=False), nn.BatchNorm2d(last[1]), act())
        self.avgpool, self.classifier = nn.AdaptiveAvgPool2d(1), head

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.last(self.blocks(self.stem(x))))
        return self.classifier(torch.flatten(x, 1))


def mobilenet_v2(width: float = 1.0, classes: int = 1000) -> Mobile:
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    before = stem = divisible(32 * width)
    blocks = []
    for expand, channels, depth, stride in table:
        after = divisible(channels * width)
        for index in range(depth):
            blocks.append(Inverted(before, before * expand, after, 3, 1 if index else stride, nn.ReLU6))
            before = after
    last = divisible(1280 * max(1.0, width)) if width >= 1 else divisible(1280 * width)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
    return Mobile(stem, blocks, (before, last), head, nn.ReLU6)


def mobilenet_v3(width: float = 1.0, classes: int = 1000) -> Mobile:
    table = [
        *((3, 16, 16, 0, "r", 1), (3, 64, 24, 0, "r", 2), (3, 72, 24, 0, "r", 1), (5, 72, 40, 1, "r", 2)),
        *((5, 120, 40, 1, "r", 1), (5, 120, 40, 1, "r", 1), (3, 240, 80, 0, "h", 2), (3, 200, 80, 0, "h", 1)),
        *((3, 184, 80, 0, "h", 1), (3, 184, 80, 0, "h", 1), (3, 480, 112, 1, "h", 1), (3, 672, 112, 1, "h", 1)),
        *((5, 672, 160, 1, "h", 2), (5, 960, 160, 1, "h", 1), (5, 960, 160, 1, "h", 1)),
    ]
    before = stem = divisible(16 * width)
    blocks = []
    for kernel, expand, channels, squeeze, act, stride in table:
        hidden, after = divisible(expand * width), divisible(channels * width)
        squeezed = divisible(hidden / 4) if squeeze else 0
        kind = nn.Hardswish if act == "h" else nn.ReLU
        blocks.append(Inverted(before, hidden, after, kernel, stride, kind, squeezed, nn.Hardsigmoid))
        before = after
    last, inner = 6 * before, divisible(1280 * width)
    head = nn.Sequential(nn.Linear(last, inner), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(inner, classes))
    return Mobile(stem, blocks, (before, last), head, nn.Hardswish)


def efficientnet_b0(width: float = 1.0, classes: int = 1000) -> Mobile:
    table = [
        *((3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 2, 3)),
        *((5, 6, 112, 1, 3), (5, 6, 192, 2, 4), (3, 6, 320, 1, 1)),
    ]
    before = stem = divisible(32 * width)
    blocks = []
    for kernel, expand, channels, stride, depth in table:
        after = divisible(channels * width)
        for index in range(depth):
            hidden, step = before * expand, 1 if index else stride
            blocks.append(Inverted(before, hidden, after, kernel, step, nn.SiLU, max(1, before // 4)))
            before = after
    last = 4 * before
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
    return Mobile(stem, blocks, (before, last), head, nn.SiLU)
