"""Resize along one axis, in the coordinates ONNX defines: where each output pixel looks, and how it weighs.

Coordinates are computed in single precision, in onnxruntime's order, so that ties fall on the same side.
Everything is made of tensor operations, so that a twin is compiled whole and follows other image sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")

_FEW_TAPS = 4
"""More taps than those of cubic: antialiasing, which is a product with a matrix."""


@dataclass(frozen=True, slots=True)
class Axis:
    """How one axis is resized: by a scale or to a size.

    Attributes:
        index: The axis.
        scale: Output pixels per source pixel; 0 where only a size is given.
        size: Output pixels; 0 where only a scale is given. With both, this is the size of the result and ``scale``
            sets the coordinates.
        coordinates: ONNX's ``coordinate_transformation_mode``.
        region: Start and end of the crop, in shares of the axis; for ``tf_crop_and_resize`` only.

    >>> half = Axis(index=2, scale=0.5, size=0, coordinates="half_pixel")
    >>> half.target(5), half.positions(4, torch.device("cpu")).tolist()
    (2, [0.5, 2.5])
    """

    index: int
    scale: float
    size: int
    coordinates: str
    region: tuple[float, float] = (0.0, 1.0)

    def target(self, source: int) -> int:
        """Return the output size for an axis of ``source`` pixels, rounded down in single precision."""
        return self.size or int(np.float32(source) * np.float32(self.scale))

    def factor(self, source: int) -> float:
        """Return output pixels per source pixel."""
        return self.scale or self.size / source

    def is_identity(self, source: int) -> bool:
        """Whether every output pixel is its source pixel."""
        is_whole = self.region == (0.0, 1.0)
        return self.target(source) == source and self.factor(source) == 1.0 and is_whole

    def is_exact(self, source: int) -> bool:
        """Whether the scale is the quotient of the sizes, which is all that torch knows."""
        return self.factor(source) * source == self.target(source)

    def positions(self, source: int, device: torch.device) -> Tensor:
        """Return where each output pixel lies in the source, ``[target]``, in source pixels."""
        target = self.target(source)
        at = torch.arange(target, device=device, dtype=torch.float32)
        if self.coordinates == "tf_crop_and_resize":
            return self._in_region(at, source, target)
        if self.coordinates == "align_corners":
            # A single output pixel has no corners to align: ONNX has it look at pixel 0.
            return at * (source - 1) / (target - 1) if target > 1 else at * 0
        if self.coordinates == "pytorch_half_pixel" and target == 1:
            return at * 0
        scale = torch.full((1,), self.factor(source), device=device, dtype=torch.float32)
        return at / scale if self.coordinates == "asymmetric" else (at + 0.5) / scale - 0.5

    def _in_region(self, at: Tensor, source: int, target: int) -> Tensor:
        start, end = (torch.full((1,), edge, device=at.device, dtype=torch.float32) for edge in self.region)
        # ONNX's formula divides by target - 1, and takes the middle of the region where that is 0.
        if target == 1:
            return 0.5 * (start + end) * (source - 1)
        return start * (source - 1) + at * (end - start) * (source - 1) / (target - 1)


@dataclass(frozen=True, slots=True)
class Kernel:
    """How the pixels around a position are weighed.

    Attributes:
        mode: ``nearest``, ``linear`` or ``cubic``.
        rounding: ONNX's ``nearest_mode``; for ``nearest`` only.
        coefficient: Keys' ``a`` (Keys 1981, equation 4); for ``cubic`` only.
        is_antialiased: Whether the kernel widens where the image shrinks.
        excludes_outside: Whether pixels beyond the edge have no weight, instead of repeating the edge.
        outside: The value of pixels whose position lies beyond the edge; ``None`` to compute them like others.
    """

    mode: str
    rounding: str = ROUNDINGS[0]
    coefficient: float = -0.75
    is_antialiased: bool = False
    excludes_outside: bool = False
    outside: float | None = None

    def resample(self, x: Tensor, axis: Axis) -> Tensor:
        """Return ``x`` resized along ``axis``."""
        source = x.shape[axis.index]
        at = axis.positions(source, x.device)
        y = self._nearest(x, axis, at) if self.mode == "nearest" else self._weighed(x, axis, at)
        if self.outside is None:
            return y
        is_outside = (at < 0) | (at > source - 1)
        return torch.where(_along(is_outside, y, axis), self.outside, y)

    def _nearest(self, x: Tensor, axis: Axis, at: Tensor) -> Tensor:
        return x.index_select(axis.index, _round(at, self.rounding).clamp(0, x.shape[axis.index] - 1).long())

    def _weighed(self, x: Tensor, axis: Axis, at: Tensor) -> Tensor:
        """Sum the taps of each output pixel; at the edge, a tap outside reads the edge pixel."""
        source = x.shape[axis.index]
        shrink = min(axis.factor(source), 1.0) if self.is_antialiased else 1.0
        # Linear reaches 1 pixel to each side, cubic 2; an antialiased kernel widens as much as the image shrinks.
        reach = (2 if self.mode == "cubic" else 1) / shrink
        first = math.floor(-reach) + 1
        taps = at.floor() + torch.arange(first, 2 - first, device=x.device).reshape(-1, 1)
        weights = self._weight((at - taps) * shrink)
        if self.excludes_outside:
            weights = weights * ((taps >= 0) & (taps < source))
        # These kernels do not add up to 1 by themselves.
        if self.excludes_outside or self.is_antialiased:
            weights = weights / weights.sum(dim=0)
        pixels = taps.clamp(0, source - 1).long()
        if len(taps) > _FEW_TAPS:
            return _by_matrix(x, axis, pixels, weights)
        parts = [
            x.index_select(axis.index, pixel) * _along(weight.to(x.dtype), x, axis)
            for pixel, weight in zip(pixels, weights, strict=True)
        ]
        return sum(parts[1:], parts[0])

    def _weight(self, distance: Tensor) -> Tensor:
        """Return the weight of a pixel at this distance, in units of the kernel."""
        x = distance.abs()
        if self.mode == "linear":
            return (1 - x).clamp(min=0)
        # Keys 1981, equation 4, with the powers of x factored out.
        a = self.coefficient
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


def _by_matrix(x: Tensor, axis: Axis, pixels: Tensor, weights: Tensor) -> Tensor:
    """Apply many taps at once: row ``i`` of the matrix holds the weights of output pixel ``i``."""
    rows = x.new_zeros(pixels.shape[1], x.shape[axis.index]).scatter_add(1, pixels.t(), weights.t().to(x.dtype))
    return (x.movedim(axis.index, -1) @ rows.t()).movedim(-1, axis.index)


def _along(row: Tensor, x: Tensor, axis: Axis) -> Tensor:
    """Reshape a row of one number per pixel so that it broadcasts along ``axis`` of ``x``."""
    return row.reshape(-1, *[1] * (x.dim() - axis.index - 1))


def _round(at: Tensor, rounding: str) -> Tensor:
    """Round to whole pixels; onnxruntime calls it a tie already when it is within a millionth of one."""
    if rounding == "floor":
        return at.floor()
    if rounding == "ceil":
        return at.ceil()
    low = at.floor()
    is_tie = (at - (low + 0.5)).abs() < 1e-6
    return torch.where(is_tie, low if rounding == "round_prefer_floor" else low + 1, (at + 0.5).floor())
