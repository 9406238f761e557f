"""Networks of tokens and windows: what ViT, Swin, LeViT, EfficientViT, EdgeNeXt and recurrent heads do with a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Tokens(nn.Module):
    """ViT (Dosovitskiy et al. 2021): a class token that is expanded, one that is repeated, positions, attention.

    One block has its batch first, one the length of the sequence, as torch's own layers do by default.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.distillation_token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 18, width))
        self.first = nn.TransformerEncoderLayer(width, 4, 24, batch_first=True, dropout=0.0)
        self.second = nn.MultiheadAttention(width, 4)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        begin = self.class_token.expand(x.shape[0], -1, -1), self.distillation_token.repeat(x.shape[0], 1, 1)
        tokens = self.first(torch.cat([*begin, tokens], 1) + self.positions).transpose(0, 1)
        tokens = tokens + self.second(tokens, tokens, tokens)[0]
        return self.head(tokens[:2].mean(0))


class Windows(nn.Module):
    """Swin (Liu et al. 2021): attention within windows, shifted, with a mask for each; then work on merged tokens.

    LeViT's BatchNorm over all tokens (Graham et al. 2021), and EfficientViT's convolutions within windows (Liu et al.
    2023).
    """

    def __init__(self, width: int = 12, heads: int = 3, size: int = 4) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.patches, self.norm = nn.Conv2d(3, width, 2, 2), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width + 2)
        self.bias = nn.Parameter(torch.randn(1, heads, size**2, size**2))
        self.register_buffer("mask", (torch.rand(16, size**2, size**2) > 0.5).float() * -10)
        self.token_norm = nn.BatchNorm1d(width + 2)
        self.depthwise = nn.Conv2d(width + 2, width + 2, 3, padding=1, groups=width + 2)
        self.window_norm, self.pointwise = nn.BatchNorm2d(width + 2), nn.Conv2d(width + 2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        count, size, length = x.shape[0], self.size, self.size**2
        shifted = torch.roll(self.norm(x), (-2, -2), (1, 2))
        windows = shifted.view(count, 4, size, 4, size, -1).permute(0, 1, 3, 2, 4, 5).reshape(-1, length, x.shape[-1])
        q, k, v = self.qkv(windows).view(-1, length, 3, self.heads, x.shape[-1] // self.heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) + self.bias
        scores = scores.view(-1, 16, self.heads, length, length) + self.mask.unsqueeze(1).unsqueeze(0)
        windows = scores.view(-1, self.heads, length, length).softmax(-1) @ v
        windows = self.out(windows.transpose(1, 2).reshape(-1, length, x.shape[-1]))
        windows = self.token_norm(windows.flatten(0, 1)).reshape_as(windows)
        maps = windows.transpose(1, 2).reshape(-1, windows.shape[-1], size, size)
        maps = self.pointwise(F.max_pool2d(F.relu(self.window_norm(self.depthwise(maps))), 2))
        return maps.view(count, 4, 4, 8, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(count, 8, 8, 8)


class Coordinates(nn.Module):
    """CoordConv (Liu et al. 2018), zeros for channels that are missing, and EdgeNeXt's positions (Maaz et al. 2022)."""

    def __init__(self) -> None:
        super().__init__()
        line = torch.linspace(-1, 1, 32)
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="ij"))[None])
        self.conv, self.encoding = nn.Conv2d(5, 8, 3, padding=1), nn.Conv2d(4, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(torch.cat([x, self.grid.expand(x.shape[0], -1, -1, -1)], 1))
        y = torch.where(y < 0.5, torch.full_like(y, 0.25), y) + torch.ones_like(y) + y.new_zeros(x.shape[0], 1, 1, 1)
        y = torch.cat([y, torch.zeros_like(y[:, :2])], 1)
        place = torch.ones(x.shape[0], 32, 32, device=x.device)
        rows, columns = place.cumsum(1), place.cumsum(2)
        waves = torch.stack([rows.sin(), rows.cos(), columns.sin(), columns.cos()], 1)
        return y + self.encoding(waves)


class Recurrent(nn.Module):
    """A recurrence along the rows of a map, written out, from a state of zeros."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv, self.cell = nn.Conv2d(3, 4, 3, padding=1), nn.GRUCell(128, width)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.conv(x).flatten(1, 2).transpose(1, 2)
        state = torch.zeros(x.shape[0], self.cell.hidden_size, device=x.device)
        for index in range(3):
            state = self.cell(rows[:, index], state)
        return state
