"""Semantic segmentation: pixel-wise cross-entropy as loss; intersection over union and pixel accuracy as metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.train.labels.label_kind import IGNORE, MapLabel
from trunkline.train.tasks.map_task import MapTask
from trunkline.train.tasks.pictures import class_colours
from trunkline.train.tasks.summed_metric import SummedMetric


@dataclass(frozen=True, kw_only=True)
class Segmentation(MapTask):
    """Class per pixel; the output holds one logit per class, pixels labelled 255 are ignored."""

    kind = "segmentation"
    label = MapLabel(channels=None, dtype=np.dtype(np.int64))
    possible_channels = range(2, IGNORE + 1)
    usual_channels = 13  # the short list of NYUv2's classes

    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the cross-entropy over the pixels that are not ignored, and their number."""
        total = F.cross_entropy(output, label, ignore_index=IGNORE, reduction="sum")
        return total, self.label.counted(label).sum()

    def metric(self) -> Confusion:
        """Return a confusion matrix of no pixel."""
        return Confusion(self)

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """Mean IoU and pixel accuracy."""
        return {"miou": True, "pixel_accuracy": True}

    @property
    def informative(self) -> Mapping[str, bool]:
        """The mean IoU as some papers compute it."""
        return {"miou_paper": True}

    def predict(self, output: Tensor) -> Tensor:
        """Return the class numbers ``[N, h, w]``."""
        return output.argmax(1)

    @property
    def drawing(self) -> Mapping[str, Any]:
        """The class with the greatest logit has its colour."""
        return {"draw": "classes", "colours": class_colours(self.channels)[: self.channels].tolist()}

    def picture(self, array: np.ndarray) -> np.ndarray:
        """Colour class numbers ``[H, W]``, or logits ``[K, H, W]``; ignored pixels are black."""
        numbers = np.asarray(array)
        numbers = numbers.argmax(0) if numbers.ndim == 3 else numbers
        return class_colours(self.channels)[numbers.astype(np.uint8)]


class Confusion(SummedMetric):
    """Counts (label, prediction) pairs over all pixels.

    * ``miou``: mean of TP / (TP + FP + FN) over the classes that occur in labels or predictions.
    * ``miou_paper``: the mean only over classes with at least one right pixel, as AdaShare's and AutoMTL's released
      code computes it; never lower than ``miou``.
    * ``pixel_accuracy``: right pixels over all pixels that are not ignored.
    """

    def __init__(self, task: Segmentation) -> None:
        # [K, K]: rows are labels, columns are predictions.
        super().__init__(counts=torch.zeros(task.channels, task.channels, dtype=torch.int64))
        self._task = task

    def update(self, output: Tensor, label: Tensor) -> None:
        """Count a batch's pixels by pair of labelled and predicted class."""
        predicted = self._task.at_label_size(output, label).argmax(1)
        valid = self._task.label.counted(label)
        classes = self._task.channels
        # One number for each pair, which bincount then counts without a loop over classes.
        pairs = label[valid] * classes + predicted[valid]
        self.add(counts=torch.bincount(pairs, minlength=classes**2).reshape(classes, classes))

    def compute(self) -> dict[str, float]:
        """Return the metrics over all batches so far."""
        counts = self.sums["counts"].double().numpy()
        right, union = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
        if not counts.any():
            return dict.fromkeys(("miou", "pixel_accuracy", "miou_paper"), float("nan"))
        iou = right / np.maximum(union, 1)
        occurs, is_hit = union > 0, right > 0
        return {
            "miou": float(iou[occurs].mean()),
            "pixel_accuracy": float(right.sum() / counts.sum()),
            # Without one right pixel this is a mean of nothing; the worst model has the worst value instead.
            "miou_paper": float(iou[is_hit].mean()) if is_hit.any() else 0.0,
        }
