"""Modules whose weights are computed from parameters, written as people and libraries write them."""

import math
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune


class Product(nn.Module):
    """A kernel times a gain per channel, and another convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.gain = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.rand(4, 1, 1, 1) + 0.5)
        self.c2 = nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.c2(F.conv2d(x, self.w * self.gain))


class Standardised(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019), with the deviation that torch corrects for its mean."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        w = w / (self.weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class ScaledStandardised(nn.Conv2d):
    """NFNet's (Brock et al. 2021), by way of a batch normalisation that sees the kernel as a batch."""

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__(channels, width, size, padding=size // 2)
        self.gain = nn.Parameter(torch.rand(width, 1, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.gain * self.weight[0].numel() ** -0.5).view(-1)
        flat = self.weight.reshape(1, self.out_channels, -1)
        w = F.batch_norm(flat, None, None, weight=scale, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, w.reshape_as(self.weight), self.bias, self.stride, self.padding)


class Equalised(nn.Conv2d):
    """An equalised learning rate (Karras et al. 2018): the constant of He's initialisation at run time."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * math.sqrt(2 / self.weight[0].numel()), self.bias * 0.1)


class LowRank(nn.Conv2d):
    """LoRA (Hu et al. 2022): a kernel and the product of two small matrices."""

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__(channels, width, size)
        self.down, self.up = nn.Parameter(torch.randn(2, channels * size**2)), nn.Parameter(torch.randn(width, 2))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight + 0.5 * (self.up @ self.down).view_as(self.weight), self.bias)


class ResponseNorm(nn.Module):
    """ConvNeXt V2's global response normalisation: weights seen through a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.weight, self.bias = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        spread = x.norm(p=2, dim=(2, 3), keepdim=True)
        ratio = spread / (spread.mean(dim=1, keepdim=True) + 1e-6)
        return x + torch.addcmul(self.bias.view(1, -1, 1, 1), self.weight.view(1, -1, 1, 1), x * ratio)


class Positions(nn.Module):
    """Attention with a bias out of a table of relative positions, as in LeViT: 7 numbers a head, for 16 pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.qk, self.table = nn.Conv2d(3, 8, 1), nn.Parameter(torch.randn(2, 7))
        self.register_buffer("places", (torch.arange(4)[:, None] - torch.arange(4)).add(3))

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.qk(F.adaptive_avg_pool2d(x, 2)).flatten(2).unflatten(1, (2, 2, 2)).unbind(1)
        return (q.transpose(2, 3) @ k + self.table[:, self.places]).softmax(-1)


class Tied(nn.Module):
    """One matrix, read as it is and transposed, and one kernel that is computed anew for each of its two uses."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(6, 3))
        self.conv = parametrizations.weight_norm(nn.Conv2d(3, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.relu(self.conv(x))).permute(0, 2, 3, 1)
        return (F.relu(x @ self.matrix.t()) @ self.matrix).permute(0, 3, 1, 2)


class Numbers(nn.Module):
    """Numbers and vectors behind functions, one of which bends at a threshold; and a resized position embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.position = nn.Conv2d(3, 4, 1), nn.Parameter(torch.randn(1, 4, 5, 5))
        self.log_scale, self.soft = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.randn(4, 1, 1))
        self.root = nn.Parameter(torch.rand(4, 1, 1) + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x) + F.interpolate(self.position, size=x.shape[2:], mode="bicubic")
        return x * self.log_scale.exp() * torch.sqrt(self.root) / (1 + F.softplus(self.soft))


class Parts(nn.Module):
    """One tensor, of which three convolutions read a part each."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(12, 3, 1, 1)), nn.Parameter(torch.randn(12))

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.w.chunk(3)
        gate = torch.sigmoid(F.conv2d(x, c, self.b[8:]))
        return F.conv2d(x, a, self.b[:4]) + F.conv2d(x, b, self.b[4:8]) * gate


def pruned() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    prune.l1_unstructured(module[0], "weight", 0.5)
    return module


def spectral(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """In evaluation mode the largest singular value follows from vectors that training mode has settled."""
    module = nn.Sequential(norm(nn.Conv2d(3, 8, 3)), nn.ReLU())
    module(torch.randn(2, 3, 8, 8))
    return module


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old form is deprecated, and in use
        return nn.Sequential(norm(nn.Conv2d(3, 8, 3)), nn.BatchNorm2d(8), nn.ReLU(), norm(nn.ConvTranspose2d(8, 4, 2)))


REPARAMETRISED = {
    "product": Product,
    "weight norm, old": lambda: normed(torch.nn.utils.weight_norm),
    "weight norm": lambda: normed(parametrizations.weight_norm),
    "spectral norm, old": lambda: spectral(torch.nn.utils.spectral_norm),
    "spectral norm": lambda: spectral(parametrizations.spectral_norm),
    "standardised": lambda: nn.Sequential(Standardised(3, 8, 3), nn.ReLU(), Standardised(8, 4, 3)),
    "scaled and standardised": lambda: nn.Sequential(ScaledStandardised(3, 8, 3), ScaledStandardised(8, 4, 3)),
    "equalised": lambda: Equalised(3, 8, 3),
    "low rank": lambda: LowRank(3, 8, 3),
    "pruned": pruned,
    "response norm": ResponseNorm,
    "positions": Positions,
    "tied": Tied,
    "numbers": Numbers,
    "parts": Parts,
}
