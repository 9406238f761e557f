"""Key points as a heat map: masked L1 as loss and as metric, as papers on Taskonomy do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trunkline.train.labels.label_kind import MapLabel
from trunkline.train.tasks.map_task import MapTask
from trunkline.train.tasks.pictures import grey
from trunkline.train.tasks.resize import masked_sum
from trunkline.train.tasks.summed_metric import SummedMetric


@dataclass(frozen=True, kw_only=True)
class KeyPoints(MapTask):
    """A heat map in [0, 1]; label 255 is ignored."""

    kind = "keypoints"
    label = MapLabel(channels=1, dtype=np.dtype(np.float32))

    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of |p - g| over valid pixels, and their number."""
        return masked_sum((output - label).abs(), self.label.counted(label))

    def metric(self) -> HeatError:
        """Return a sum that has seen no batch."""
        return HeatError(self)

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """The mean absolute error."""
        return {"l1": False}

    def predict(self, output: Tensor) -> Tensor:
        """Return heat in [0, 1]."""
        return output.clamp(0, 1)

    def picture(self, array: np.ndarray) -> np.ndarray:
        """Show ``[1, H, W]`` heat, white on black; ignored pixels are grey."""
        return grey(array)


class HeatError(SummedMetric):
    """``l1``: mean |p - g| over all valid pixels; p is not clamped."""

    def __init__(self, task: KeyPoints) -> None:
        super().__init__(error=torch.tensor(0.0, dtype=torch.float64), count=torch.tensor(0))
        self._task = task

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add the absolute errors at the labelled numbers of a batch."""
        valid = self._task.label.counted(label)
        error = (self._task.at_label_size(output, label)[valid].double() - label[valid].double()).abs()
        self.add(error=error.sum(), count=valid.sum())

    def compute(self) -> dict[str, float]:
        """Return the metric over all batches so far."""
        return {"l1": float(self.sums["error"] / self.sums["count"])}
