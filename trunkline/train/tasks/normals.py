"""Surface normals: 1 - cosine as loss; angles between prediction and label as metrics.

Two spaces are kept apart by name. In the ``decoded`` space labels are unit vectors and angles are angles. Several
papers (NDDR-CNN, MTL-NAS, AdaShare, AutoMTL, TreeMTL) instead feed the label picture's bytes, 127.5·(n + 1), to the
loss and the metric: the ``paper`` space. Byte vectors share one octant, so their angles are far smaller, and numbers
of the two spaces must never be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trunkline.train.labels.label_kind import MapLabel
from trunkline.train.tasks.map_task import MapTask
from trunkline.train.tasks.resize import masked_sum
from trunkline.train.tasks.summed_metric import SummedMetric

_SHORTEST_VECTOR = 1e-4
_BINS_PER_DEGREE = 100
_BINS = 180 * _BINS_PER_DEGREE
_WITHIN = (11.25, 22.5, 30.0)


class Directions(MapLabel):
    """Vectors whose first component points to the right, (0, 0, 0) where invalid."""

    def mirrored(self, label: np.ndarray) -> np.ndarray:
        """Return the mirrored vectors: what pointed to the right points to the left."""
        # The loaders of AdaShare and AutoMTL for NYUv2 forget the sign: half of their labels contradict their images.
        flipped = super().mirrored(label)
        flipped[0] *= -1
        return flipped


@dataclass(frozen=True, kw_only=True)
class Normals(MapTask):
    """Unit vectors, (0, 0, 0) where invalid; the length of the output does not matter.

    Attributes:
        space: The values of labels: ``decoded`` unit vectors, or ``paper`` bytes 0..255.
    """

    space: Literal["decoded", "paper"] = "decoded"

    kind = "normals"
    label = Directions(channels=3, dtype=np.dtype(np.float32), ignore=0)
    possible_channels = range(3, 4)
    usual_channels = 3

    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of 1 - cos over valid pixels, and their number."""
        cosine = (_unit(output) * _unit(label)).sum(1)
        return masked_sum(1 - cosine, self.label.counted(label))

    def metric(self) -> NormalErrors:
        """Return histograms of angles that have seen no batch."""
        return NormalErrors(self)

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """Mean and median angle, and the fractions within 11.25, 22.5 and 30 degrees, in the labels' own space."""
        return _directions(self.space)

    @property
    def informative(self) -> Mapping[str, bool]:
        """The same metrics in the paper's space, where labels are decoded: vectors can be encoded for that."""
        return _directions("paper") if self.space == "decoded" else {}

    def predict(self, output: Tensor) -> Tensor:
        """Return unit vectors."""
        return _unit(output)

    @property
    def drawing(self) -> Mapping[str, Any]:
        """Red, green and blue are the unit vector's coordinates."""
        scale, middle = (255.0, 0.0) if self.space == "paper" else (127.5, 127.5)
        return {"draw": "directions", "scale": scale, "middle": middle}

    def picture(self, array: np.ndarray) -> np.ndarray:
        """Show ``[3, H, W]`` vectors as red, green and blue; invalid pixels are black."""
        vectors = np.asarray(array, np.float64).transpose(1, 2, 0)
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        unit = vectors / np.maximum(length, 1e-12)
        shown = unit * 255 if self.space == "paper" else (unit + 1) * 127.5
        coloured: np.ndarray = np.clip(np.where(length > 0, shown, 0), 0, 255).astype(np.uint8)
        return coloured


class NormalErrors(SummedMetric):
    """Pooled angles, in degrees, per space: ``angle_mean``, ``angle_median`` and ``within_…`` (fractions).

    The median comes from a histogram of 0.01 degree bins, so memory is bounded and the value is exact to 0.005
    degrees; the others are exact. Names of the paper's space end in ``_paper``.
    """

    def __init__(self, task: Normals) -> None:
        self._task = task
        self._spaces = ("decoded", "paper") if task.space == "decoded" else ("paper",)
        sums: dict[str, Tensor] = {}
        for space in self._spaces:
            sums["histogram" + _suffix(space)] = torch.zeros(_BINS, dtype=torch.int64)
            sums["total" + _suffix(space)] = torch.tensor(0.0, dtype=torch.float64)
            sums["within" + _suffix(space)] = torch.zeros(len(_WITHIN), dtype=torch.int64)
        super().__init__(**sums)

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add the angles between predicted and labelled normals of a batch."""
        predicted = self._task.at_label_size(output, label)
        valid = self._task.label.counted(label)
        p, g = (vectors.movedim(1, -1)[valid].double() for vectors in (predicted, label))
        self._add(self._task.space, p, g)
        if self._task.space == "decoded":
            # Encoded, n is 127.5 · (n + 1); the factor changes no angle.
            unit = p / p.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            self._add("paper", unit + 1, g + 1)

    def _add(self, space: str, p: Tensor, g: Tensor) -> None:
        """Add the angles between matching rows of ``[M, 3]``."""
        # atan2 keeps its precision near 0 and 180 degrees, where acos of the cosine loses half of the digits.
        angle = torch.rad2deg(torch.atan2(torch.linalg.cross(p, g).norm(dim=-1), (p * g).sum(-1)))
        # An output that is not finite has no direction, which is the worst: NaN as a whole number could be the best, 0.
        bins = (angle * _BINS_PER_DEGREE).nan_to_num(nan=_BINS - 1).long().clamp(min=0, max=_BINS - 1)
        amounts = {
            "histogram": torch.bincount(bins, minlength=_BINS),
            "total": angle.sum(),
            "within": torch.stack([(angle < limit).sum() for limit in _WITHIN]),
        }
        self.add(**{name + _suffix(space): amount for name, amount in amounts.items()})

    def compute(self) -> dict[str, float]:
        """Return the metrics over all batches so far."""
        values: dict[str, float] = {}
        for space in self._spaces:
            values |= self._computed(_suffix(space))
        return values

    def _computed(self, suffix: str) -> dict[str, float]:
        """Return mean, median and fractions within the three limits, in one space."""
        names = [name + suffix for name in _names()]
        histogram = self.sums["histogram" + suffix]
        count = int(histogram.sum())
        if not count:
            return dict.fromkeys(names, float("nan"))
        mean = float(self.sums["total" + suffix]) / count
        within = (self.sums["within" + suffix].double() / count).tolist()
        return dict(zip(names, [mean, _median(histogram), *within], strict=True))


def _median(histogram: Tensor) -> float:
    """Return the middle angle; of an even number of angles the mean of the middle two."""
    count = int(histogram.sum())
    ranks = torch.tensor([(count - 1) // 2, count // 2])
    bins = torch.searchsorted(histogram.cumsum(0), ranks, right=True).double()
    return float(((bins + 0.5) / _BINS_PER_DEGREE).mean())


def _unit(vectors: Tensor) -> Tensor:
    """Divide ``[N, 3, H, W]`` by its lengths, or by 1e-4 where those are smaller, which bounds the gradient."""
    return vectors / vectors.square().sum(1, keepdim=True).clamp(min=_SHORTEST_VECTOR**2).sqrt()


def _names() -> list[str]:
    return ["angle_mean", "angle_median", *(f"within_{limit:g}" for limit in _WITHIN)]


def _suffix(space: str) -> str:
    return "_paper" if space == "paper" else ""


def _directions(space: str) -> dict[str, bool]:
    return {name + _suffix(space): name.startswith("within") for name in _names()}
