"""Classification, one class per image: cross-entropy as loss, accuracy as metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.train.labels.label_kind import ImageLabel
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.pictures import class_colours
from trunkline.train.tasks.summed_metric import SummedMetric

_COLOURS = 256
"""Colours in the palette; further classes take them a second time."""


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """Class per image; the output ``[N, K]`` holds one logit per class, images labelled -1 are ignored."""

    kind = "classification"
    label = ImageLabel(np.dtype(np.int64))
    possible_channels = range(2, 65_537)
    usual_channels = 1_000  # ImageNet's classes

    def loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of the images that are not ignored, summed, and their number."""
        self.check(output)
        total = F.cross_entropy(output.float(), label, ignore_index=self.label.ignore, reduction="sum")
        return total, self.label.counted(label).sum()

    def metric(self) -> Accuracy:
        """Return a metric that has seen no image."""
        return Accuracy(self)

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """Accuracy, where higher is better."""
        return {"accuracy": True}

    def predict(self, output: Tensor) -> Tensor:
        """Return the class numbers ``[N]``."""
        return output.argmax(1)

    @property
    def drawing(self) -> Mapping[str, Any]:
        """The class with the greatest logit is named."""
        return {"draw": "label"}

    def picture(self, array: np.ndarray) -> np.ndarray:
        """Show a class number as the one colour ``[1, 1, 3]`` of its class; an ignored image is black."""
        number = int(array)
        if number == self.label.ignore:
            return np.zeros((1, 1, 3), np.uint8)
        shown: np.ndarray = class_colours(min(self.channels, _COLOURS))[number % _COLOURS][None, None]
        return shown


class Accuracy(SummedMetric):
    """``accuracy``: images whose greatest logit is that of their class, over all images that are not ignored."""

    def __init__(self, task: Classification) -> None:
        super().__init__(right=torch.tensor(0), count=torch.tensor(0))
        self._task = task

    def update(self, output: Tensor, label: Tensor) -> None:
        """Count the images of a batch, and those whose label is predicted."""
        self._task.check(output)
        valid = self._task.label.counted(label)
        self.add(right=(valid & (self._task.predict(output) == label)).sum(), count=valid.sum())

    def compute(self) -> dict[str, float]:
        """Return the accuracy over all batches so far."""
        return {"accuracy": float(self.sums["right"] / self.sums["count"])}
