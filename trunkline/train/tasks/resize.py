"""Brings network outputs and labels to one size."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Upsample = Literal["bilinear", "nearest"]


def nearest(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``[..., H, W]`` of any type by taking row floor(i·H/h) and column floor(j·W/w), as torch's "nearest".

    >>> nearest(torch.arange(6).reshape(1, 6), (1, 3))
    tensor([[0, 2, 4]])
    """
    # By index: torch's own interpolate takes no int64 classes, and floors a quotient in float32, not in whole numbers.
    height, width = label.shape[-2:]
    if (height, width) == tuple(size):
        return label
    rows = torch.arange(size[0], device=label.device) * height // size[0]
    columns = torch.arange(size[1], device=label.device) * width // size[1]
    return label[..., rows[:, None], columns[None, :]]


def output_to(output: Tensor, size: tuple[int, int], mode: Upsample) -> Tensor:
    """Resize an output ``[N, K, h, w]`` to ``size``, in float32."""
    output = output.float()
    if tuple(output.shape[-2:]) == tuple(size):
        return output
    if mode == "nearest":
        return nearest(output, size)
    return F.interpolate(output, size=size, mode="bilinear", align_corners=False)


def masked_sum(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of ``values`` where ``valid``, and how many there are; 0, with zero gradient, where none is."""
    # A choice, not a product: a NaN or an infinity times 0 would still be NaN.
    return torch.where(valid, values, torch.zeros_like(values)).sum(), valid.sum()
