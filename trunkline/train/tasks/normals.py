"""Surface normals: 1 - cosine; angles between prediction and label.

Two spaces are kept apart by name. In the ``decoded`` space labels are unit vectors and angles are angles. Several
papers (NDDR-CNN, MTL-NAS, AdaShare, AutoMTL, TreeMTL) instead feed the label picture's bytes, 127.5·(n + 1), to the
loss and the metric: the ``paper`` space. Byte vectors share one octant, so their angles are far smaller, and numbers
of the two spaces must never be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from trunkline.train.tasks.base import Task
from trunkline.train.tasks.resize import masked_sum

_SHORTEST = 1e-4
_BINS_PER_DEGREE = 100
_WITHIN = (11.25, 22.5, 30.0)


@dataclass(frozen=True, kw_only=True)
class Normals(Task):
    """Unit vectors, (0, 0, 0) where invalid; the length of the output does not matter.

    Attributes:
        space: What labels are: ``decoded`` unit vectors, or ``paper`` bytes 0..255.
    """

    space: Literal["decoded", "paper"] = "decoded"

    kind = "normals"

    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - cos of valid pixels, summed, and their number."""
        cosine = (_unit(output) * _unit(label)).sum(1)
        return masked_sum(1 - cosine, label.ne(0).any(1))

    def metric(self) -> NormalErrors:
        """Return empty angle histograms."""
        return NormalErrors(self)

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """Mean and median angle, and the fractions within 11.25, 22.5 and 30 degrees, in the labels' own space."""
        return _directions(self.space)

    @property
    def informative(self) -> Mapping[str, bool]:
        """The same in the paper's space, which decoded vectors can be brought to (but not the other way)."""
        return _directions("paper") if self.space == "decoded" else {}

    def predict(self, output: Tensor) -> Tensor:
        """Return unit vectors."""
        return _unit(output)

    def picture(self, array: np.ndarray) -> np.ndarray:
        """Show ``[3, H, W]`` vectors as red, green and blue; invalid pixels are black."""
        vectors = np.asarray(array, np.float64).transpose(1, 2, 0)
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        unit = vectors / np.maximum(length, 1e-12)
        shown = unit * 255 if self.space == "paper" else (unit + 1) * 127.5
        coloured: np.ndarray = np.clip(np.where(length > 0, shown, 0), 0, 255).astype(np.uint8)
        return coloured


class NormalErrors:
    """Pooled angles, in degrees, per space: ``angle_mean``, ``angle_median`` and ``within_…`` (fractions).

    The median comes from a histogram of 0.01 degree bins, so memory is bounded and the value is exact to 0.005
    degrees; the others are exact. Names of the paper's space end in ``_paper``.
    """

    def __init__(self, task: Normals) -> None:
        self._task = task
        self._angles = {task.space: Angles()}
        if task.space == "decoded":
            self._angles["paper"] = Angles()

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add one batch."""
        predicted = self._task.at_label_size(output, label)
        valid = label.ne(0).any(1)
        p, g = (vectors.movedim(1, -1)[valid].double() for vectors in (predicted, label))
        self._angles[self._task.space].add(p, g)
        if self._task.space == "decoded":
            unit = p / p.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            self._angles["paper"].add(unit + 1, g + 1)

    def compute(self) -> dict[str, float]:
        """Return the metrics over all batches so far."""
        return {
            name + _suffix(space): value
            for space, angles in self._angles.items()
            for name, value in angles.compute().items()
        }


class Angles:
    """A running summary of angles between vectors ``[M, 3]``."""

    def __init__(self) -> None:
        self._histogram = torch.zeros(180 * _BINS_PER_DEGREE, dtype=torch.int64)
        self._sum = 0.0
        self._within = torch.zeros(len(_WITHIN), dtype=torch.int64)
        self._count = 0

    def add(self, p: Tensor, g: Tensor) -> None:
        """Add the angles between matching rows."""
        # atan2 keeps its precision near 0 and 180 degrees, where acos of the cosine loses half of the digits
        angle = torch.rad2deg(torch.atan2(torch.linalg.cross(p, g).norm(dim=-1), (p * g).sum(-1)))
        bins = (angle * _BINS_PER_DEGREE).long().clamp(min=0, max=self._histogram.numel() - 1)
        self._histogram += torch.bincount(bins, minlength=self._histogram.numel()).cpu()
        self._sum += float(angle.sum())
        self._within += torch.stack([(angle < limit).sum() for limit in _WITHIN]).cpu()
        self._count += int(angle.numel())

    def compute(self) -> dict[str, float]:
        """Return mean, median and fractions within the three limits."""
        if not self._count:
            return dict.fromkeys(_names(), float("nan"))
        within = (self._within.double() / self._count).tolist()
        return dict(zip(_names(), [self._sum / self._count, self._median(), *within], strict=True))

    def _median(self) -> float:
        """Return the middle angle; of an even number of angles the mean of the middle two."""
        cumulated = self._histogram.cumsum(0)
        ranks = torch.tensor([(self._count - 1) // 2, self._count // 2])
        bins = torch.searchsorted(cumulated, ranks, right=True).double()
        return float(((bins + 0.5) / _BINS_PER_DEGREE).mean())


def _unit(vectors: Tensor) -> Tensor:
    """Divide ``[N, 3, H, W]`` by the length; shorter than 1e-4 by that, which bounds the gradient."""
    return vectors / vectors.square().sum(1, keepdim=True).clamp(min=_SHORTEST**2).sqrt()


def _names() -> list[str]:
    return ["angle_mean", "angle_median", *(f"within_{limit:g}" for limit in _WITHIN)]


def _suffix(space: str) -> str:
    return "_paper" if space == "paper" else ""


def _directions(space: str) -> dict[str, bool]:
    return {name + _suffix(space): name.startswith("within") for name in _names()}
