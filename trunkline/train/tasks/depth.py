"""Depth estimation in metres: masked L1 as loss; absolute and relative error, threshold accuracies and RMSE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trunkline.train.labels.label_kind import LabelArray, MapLabel
from trunkline.train.tasks.map_task import MapTask
from trunkline.train.tasks.pictures import HEAT, heat_colours
from trunkline.train.tasks.resize import masked_sum
from trunkline.train.tasks.summed_metric import SummedMetric

_SMALLEST_DEPTH_METRES = 1e-3


class Metres(MapLabel):
    """Depth in metres; a pixel whose value is not positive has no depth."""

    def counted(self, label: LabelArray) -> LabelArray:
        """Return a mask of the pixels that have a depth."""
        return label > 0


@dataclass(frozen=True, kw_only=True)
class Depth(MapTask):
    """Depth in metres; label 0 is invalid.

    Attributes:
        picture_metres: The depth at the far end of the colour scale, in pictures.
    """

    picture_metres: float = 8.0

    kind = "depth"
    label = Metres(channels=1, dtype=np.dtype(np.float32), ignore=0)

    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of |p - g| over valid pixels, and their number."""
        return masked_sum((output - label).abs(), self.label.counted(label))

    def metric(self) -> DepthErrors:
        """Return sums that have seen no batch."""
        return DepthErrors(self)

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """The five measures of AdaShare, AutoMTL and TreeMTL."""
        return {"abs_error": False, "rel_error": False, "delta_1": True, "delta_2": True, "delta_3": True}

    @property
    def informative(self) -> Mapping[str, bool]:
        """The root mean square error."""
        return {"rmse": False}

    def predict(self, output: Tensor) -> Tensor:
        """Return depths; a negative output is depth 0."""
        return output.clamp(min=0)

    @property
    def drawing(self) -> Mapping[str, Any]:
        """Near is bright, and what is as far as ``picture_metres`` dark; no depth is black."""
        far = max(self.picture_metres, _SMALLEST_DEPTH_METRES)
        return {"draw": "ramp", "low": far, "high": 0.0, "nothing_to": 0.0, "colours": HEAT}

    def picture(self, array: np.ndarray) -> np.ndarray:
        """Colour ``[1, H, W]`` depths from near (bright) to far (dark); invalid pixels are black."""
        metres = np.asarray(array, np.float64).reshape(array.shape[-2:])
        coloured = heat_colours(1 - metres / max(self.picture_metres, _SMALLEST_DEPTH_METRES))
        coloured[metres <= 0] = 0
        return coloured


class DepthErrors(SummedMetric):
    """Pooled depth errors over valid pixels, with prediction p and label g in metres.

    * ``abs_error``: mean |p - g|; ``rel_error``: mean |p - g| / g; ``rmse``: root of mean (p - g)².
    * ``delta_k``: fraction with max(p/g, g/p) < 1.25^k (Eigen et al. 2014). p is first raised to at least 1 mm:
      with negative predictions both ratios would be negative and would pass.
    """

    def __init__(self, task: Depth) -> None:
        super().__init__(errors=torch.zeros(6, dtype=torch.float64), count=torch.tensor(0))
        self._task = task

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add the errors at a batch's labelled pixels, in metres and relative, and the ratios within bounds."""
        predicted = self._task.at_label_size(output, label)
        valid = self._task.label.counted(label)
        # In float32 a sum of ones ends at 2^24, which is some 50 images of 480 x 640.
        p, g = predicted[valid].double(), label[valid].double()
        error = (p - g).abs()
        positive = p.clamp(min=_SMALLEST_DEPTH_METRES)
        ratio = torch.maximum(positive / g, g / positive)
        within = [(ratio < 1.25**k).double() for k in (1, 2, 3)]
        terms = [error, error / g, *within, error**2]
        self.add(errors=torch.stack([term.sum() for term in terms]), count=valid.sum())

    def compute(self) -> dict[str, float]:
        """Return the metrics over all batches so far."""
        names = ("abs_error", "rel_error", "delta_1", "delta_2", "delta_3", "rmse")
        if not self.sums["count"]:
            return dict.fromkeys(names, float("nan"))
        *means, mean_square = (self.sums["errors"] / self.sums["count"]).tolist()
        # The root of the pooled mean, as in the PASCAL and NYUD protocols; a mean of roots would depend on the batches.
        return dict(zip(names, [*means, mean_square**0.5], strict=True))
