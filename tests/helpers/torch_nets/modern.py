"""ConvNeXt-T (Liu et al. 2022), U-Net (Ronneberger et al. 2015), and a net of whatever else people write."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    """Depthwise convolution, then linear layers over the channels of an NHWC view, and a learned scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(1e-1 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, widths: Sequence[int] = (96, 192, 384, 768), depths: Sequence[int] = (3, 3, 9, 3)) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 4), LayerNorm2d(widths[0], eps=1e-6)]
        for stage, depth in enumerate(depths):
            if stage:
                norm = LayerNorm2d(widths[stage - 1], eps=1e-6)
                layers += [norm, nn.Conv2d(widths[stage - 1], widths[stage], 2, 2)]
            layers += [NextBlock(widths[stage]) for _ in range(depth)]
        self.features = nn.Sequential(*layers)
        self.norm, self.head = nn.LayerNorm(widths[-1], eps=1e-6), nn.Linear(widths[-1], 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x).mean([-2, -1])))


class UNet(nn.Module):
    """Transposed convolutions, skips that are concatenated, and padding to the size of the skip."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down1, self.down2 = self._double(3, width), self._double(width, 2 * width)
        self.bottom = self._double(2 * width, 4 * width)
        self.up2, self.up1 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.dec2, self.dec1 = self._double(4 * width, 2 * width), self._double(2 * width, width)
        self.out = nn.Conv2d(width, 2, 1)

    @staticmethod
    def _double(before: int, after: int) -> nn.Sequential:
        layers = [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(2, after), nn.LeakyReLU(0.1)]
        return nn.Sequential(
            *layers, nn.Conv2d(after, after, 3, padding=1), nn.InstanceNorm2d(after, affine=True), nn.ELU()
        )

    @staticmethod
    def _join(up: Tensor, skip: Tensor) -> Tensor:
        high, wide = skip.shape[2] - up.shape[2], skip.shape[3] - up.shape[3]
        return torch.cat([skip, F.pad(up, [wide // 2, wide - wide // 2, high // 2, high - high // 2])], 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.dec2(self._join(self.up2(c), b))
        return self.out(self.dec1(self._join(self.up1(b), a)))


class Odd(nn.Module):
    """Shared weights, buffers, scalars that train and scalars that do not, several outputs, einsum-free attention."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.shared = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.alpha = nn.Parameter(torch.tensor(0.5))
        self.prelu, self.act = nn.PReLU(8), nn.Mish()
        self.query, self.key = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.act(self.stem((x - self.mean) / 0.25))
        x = self.prelu(self.shared(x)) + self.alpha * self.shared(x)
        scores = self.query(x).flatten(2).transpose(1, 2) @ self.key(x).flatten(2) / 2.0
        weights = torch.softmax(scores, dim=-1)
        attended = (x.flatten(2) @ weights.transpose(1, 2)).view_as(x)
        big = F.interpolate(attended, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.shuffle(x), F.avg_pool2d(torch.clamp(big, 0.0, 1.5), 3, 2, 1) * torch.sigmoid(x)
