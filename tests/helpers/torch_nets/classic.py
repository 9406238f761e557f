"""AlexNet (Krizhevsky 2014), VGG-16 (Simonyan and Zisserman 2015), SqueezeNet 1.1 (Iandola et al. 2016)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AlexNet(nn.Module):
    """Dropout as a function in ``forward``, and a fixed-size classifier."""

    def __init__(self, width: int = 64, hidden: int = 4096, classes: int = 1000) -> None:
        super().__init__()
        sizes = [(3, width, 11, 4, 2), (width, 3 * width, 5, 1, 2), (3 * width, 6 * width, 3, 1, 1)]
        sizes += [(6 * width, 4 * width, 3, 1, 1), (4 * width, 4 * width, 3, 1, 1)]
        self.convs = nn.ModuleList(nn.Conv2d(*size) for size in sizes)
        self.fc1, self.fc2 = nn.Linear(4 * width * 36, hidden), nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        for index, conv in enumerate(self.convs):
            x = F.relu(conv(x))
            if index in (0, 1, 4):
                x = F.max_pool2d(x, 3, 2)
        x = torch.flatten(x, 1)
        for layer in (self.fc1, self.fc2):
            x = F.relu(layer(F.dropout(x, training=self.training)))
        return self.head(x)


class VGG(nn.Module):
    """Module lists flattened by a view that names the batch."""

    def __init__(self, width: int = 64, hidden: int = 4096, side: int = 7, classes: int = 1000) -> None:
        super().__init__()
        layers, before = [], 3
        for stage, count in enumerate((2, 2, 3, 3, 3)):
            after = width * min(8, 2**stage)
            for _ in range(count):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
                before = after
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            *(nn.Linear(before * side * side, hidden), nn.ReLU(True), nn.Dropout()),
            *(nn.Linear(hidden, hidden), nn.ReLU(True), nn.Dropout()),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class Fire(nn.Module):
    def __init__(self, before: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(before, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(x)), F.relu(self.three(x))], 1)


class SqueezeNet(nn.Module):
    """Pooling that rounds up, and a classifier of convolutions."""

    def __init__(self, scale: int = 16, classes: int = 1000) -> None:
        super().__init__()
        fires, before = [], 4 * scale
        for squeeze in (1, 1, 2, 2, 3, 3, 4, 4):
            fires.append(Fire(before, squeeze * scale, 4 * squeeze * scale))
            before = 8 * squeeze * scale
        pool = [nn.MaxPool2d(3, 2, ceil_mode=True) for _ in range(3)]
        stem = [nn.Conv2d(3, 4 * scale, 3, 2), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*stem, pool[0], *fires[:2], pool[1], *fires[2:4], pool[2], *fires[4:])
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(before, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)
