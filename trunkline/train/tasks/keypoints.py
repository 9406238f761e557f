"""Key points as a heat map: masked L1, for training and as the metric (Taskonomy's rule)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from trunkline.train.data.base import IGNORE
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.pictures import grey
from trunkline.train.tasks.resize import masked_sum


@dataclass(frozen=True, kw_only=True)
class KeyPoints(Task):
    """A heat map in [0, 1]; label 255 is ignored."""

    kind = "keypoints"

    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the absolute errors of valid pixels, summed, and their number."""
        return masked_sum((output - label).abs(), label != IGNORE)

    def metric(self) -> HeatError:
        """Return an empty sum."""
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


class HeatError:
    """``l1``: mean |p - g| over all valid pixels; p is not clamped."""

    def __init__(self, task: KeyPoints) -> None:
        self._task = task
        self._error = 0.0
        self._count = 0

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add one batch."""
        valid = label != IGNORE
        error = (self._task.at_label_size(output, label)[valid].double() - label[valid].double()).abs()
        self._error += float(error.sum())
        self._count += int(error.numel())

    def compute(self) -> dict[str, float]:
        """Return the metric over all batches so far."""
        return {"l1": self._error / self._count if self._count else float("nan")}
