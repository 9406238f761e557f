"""ResNet (He et al. 2016), DenseNet-121 (Huang et al. 2017), ShuffleNet v2 (Ma et al. 2018)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(after)]


class Residual(nn.Module):
    """The basic block, or the bottleneck where ``expansion`` is 4."""

    def __init__(self, before: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        after = width * expansion
        if expansion == 1:
            layers = [*conv_bn(before, width, 3, stride), nn.ReLU(inplace=True), *conv_bn(width, width, 3)]
        else:
            layers = [*conv_bn(before, width, 1), nn.ReLU(inplace=True), *conv_bn(width, width, 3, stride)]
            layers += [nn.ReLU(inplace=True), *conv_bn(width, after, 1)]
        self.body = nn.Sequential(*layers)
        self.downsample = nn.Sequential(*conv_bn(before, after, 1, stride)) if stride > 1 or before != after else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.body(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """In-place sums and the usual stem."""

    def __init__(self, depths: Sequence[int], expansion: int, width: int = 64, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        before = width
        for stage, depth in enumerate(depths):
            inner, blocks = width * 2**stage, []
            for index in range(depth):
                blocks.append(Residual(before, inner, 2 if stage and not index else 1, expansion))
                before = inner * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class DenseLayer(nn.Module):
    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv1(F.relu(self.norm1(torch.cat(features, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseNet(nn.Module):
    """Lists of features that are concatenated anew in every layer."""

    def __init__(self, depths: Sequence[int] = (6, 12, 24, 16), growth: int = 32, classes: int = 1000) -> None:
        super().__init__()
        before = 2 * growth
        self.stem = nn.Sequential(*conv_bn(3, before, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.stages, self.transitions = nn.ModuleList(), nn.ModuleList()
        for index, depth in enumerate(depths):
            self.stages.append(nn.ModuleList(DenseLayer(before + i * growth, growth) for i in range(depth)))
            before += depth * growth
            if index < len(depths) - 1:
                conv = nn.Conv2d(before, before // 2, 1, bias=False)
                self.transitions.append(nn.Sequential(nn.BatchNorm2d(before), nn.ReLU(), conv, nn.AvgPool2d(2)))
                before //= 2
        self.norm, self.classifier = nn.BatchNorm2d(before), nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            features = [x]
            for layer in stage:
                features.append(layer(features))
            x = torch.cat(features, 1)
            if index < len(self.transitions):
                x = self.transitions[index](x)
        x = F.relu(self.norm(x))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Shuffle channels by views that name the batch."""
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    return torch.transpose(x, 1, 2).contiguous().view(batch, channels, height, width)


class ShuffleUnit(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        half = after // 2
        self.stride = stride
        if stride > 1:
            self.left = nn.Sequential(
                *conv_bn(before, before, 3, stride, before), *conv_bn(before, half, 1), nn.ReLU(inplace=True)
            )
        entry = before if stride > 1 else half
        self.right = nn.Sequential(
            *(*conv_bn(entry, half, 1), nn.ReLU(inplace=True)),
            *conv_bn(half, half, 3, stride, half),
            *(*conv_bn(half, half, 1), nn.ReLU(inplace=True)),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            left, right = x.chunk(2, dim=1)
            return shuffle(torch.cat((left, self.right(right)), dim=1), 2)
        return shuffle(torch.cat((self.left(x), self.right(x)), dim=1), 2)


class ShuffleNetV2(nn.Module):
    """Channel splits and shuffles, and a global mean over the last two axes."""

    def __init__(self, widths: Sequence[int] = (24, 116, 232, 464, 1024), classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*conv_bn(3, widths[0], 3, 2), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        stages = []
        for before, after, depth in zip(widths, widths[1:4], (4, 8, 4), strict=False):
            stages += [ShuffleUnit(before, after, 2), *(ShuffleUnit(after, after, 1) for _ in range(depth - 1))]
        self.stages = nn.Sequential(*stages)
        self.conv5 = nn.Sequential(*conv_bn(widths[3], widths[4], 1), nn.ReLU(inplace=True))
        self.fc = nn.Linear(widths[4], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv5(self.stages(self.maxpool(self.conv1(x))))
        return self.fc(x.mean([2, 3]))
