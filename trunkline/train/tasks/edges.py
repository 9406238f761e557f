"""Edge detection: weighted binary cross-entropy or L1 as loss; pixel-wise F at the best threshold, and L1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.text import quoted
from trunkline.train.labels.label_kind import MapLabel
from trunkline.train.tasks.map_task import MapTask
from trunkline.train.tasks.pictures import grey
from trunkline.train.tasks.resize import masked_sum
from trunkline.train.tasks.summed_metric import SummedMetric

_BINS = 100


@dataclass(frozen=True, kw_only=True)
class Edges(MapTask):
    """Edge or no edge; label 255 is ignored.

    Attributes:
        objective: ``bce``: the output is a logit; ``l1``: it is the edge strength itself, as on Taskonomy.
        positive_weight: Weight w of edge pixels in the cross-entropy, from 0 to 1; others weigh 1 - w. ``balanced``
            takes the fraction of non-edge pixels in the batch; BMTAS uses 0.95 on PASCAL-Context and 0.8 on NYUD.
    """

    objective: Literal["bce", "l1"] = "bce"
    positive_weight: float | Literal["balanced"] = "balanced"

    kind = "edges"
    label = MapLabel(channels=1, dtype=np.dtype(np.float32))

    def __post_init__(self) -> None:
        weight = self.positive_weight
        # Beyond 1 the other pixels would weigh less than nothing, and the loss would have no minimum.
        if not isinstance(weight, str) and weight > 1:
            found = f'positive_weight = {weight:g}, expected "balanced" or a number from 0 to 1'
            raise InvalidConfig(found, place=f"task {quoted(self.name)}")

    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses of valid pixels, and their number."""
        valid = self.label.counted(label)
        if self.objective == "l1":
            return masked_sum((output - label).abs(), valid)
        edge = (label == 1).float()
        positive = self._positive_weight(edge, valid)
        weight = torch.where(label == 1, positive, 1 - positive)
        cross_entropy = F.binary_cross_entropy_with_logits(output, edge, reduction="none")
        return masked_sum(cross_entropy * weight, valid)

    def metric(self) -> EdgeScores:
        """Return histograms that have seen no batch."""
        return EdgeScores(self)

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """The pixel-wise F, or L1 where L1 is the loss."""
        return {"pixel_f": True} if self.objective == "bce" else {"l1": False}

    @property
    def informative(self) -> Mapping[str, bool]:
        """The other of the two metrics."""
        return {"l1": False} if self.objective == "bce" else {"pixel_f": True}

    def predict(self, output: Tensor) -> Tensor:
        """Return edge strengths in [0, 1]."""
        return output.sigmoid() if self.objective == "bce" else output.clamp(0, 1)

    @property
    def drawing(self) -> Mapping[str, Any]:
        """White on black; a logit becomes a strength first."""
        return {**super().drawing, "sigmoid": self.objective == "bce"}

    def picture(self, array: np.ndarray) -> np.ndarray:
        """Show ``[1, H, W]`` strengths, white on black; ignored pixels are grey."""
        return grey(array)

    def _positive_weight(self, edge: Tensor, valid: Tensor) -> Tensor:
        # Most pixels are no edge: without weights, a network that finds none at all has a small loss.
        if self.positive_weight == "balanced":
            edges, count = masked_sum(edge, valid)
            return 1 - edges / count.clamp(min=1)
        return edge.new_tensor(float(self.positive_weight))


class EdgeScores(SummedMetric):
    """Pixel-wise scores over all valid pixels.

    * ``pixel_f``: F = 2·TP / (2·TP + FP + FN) of pixels at the best of the thresholds 0.01 … 0.99 for the whole data
      set. It is *not* odsF: edges are neither thinned nor matched with a tolerance.
    * ``l1``: mean |p - g|.
    """

    def __init__(self, task: Edges) -> None:
        bins = torch.zeros(_BINS, dtype=torch.int64)
        super().__init__(edges=bins, others=bins.clone(), error=torch.tensor(0.0, dtype=torch.float64))
        self._task = task

    def update(self, output: Tensor, label: Tensor) -> None:
        """Count a batch's pixels by predicted strength, edges and others apart."""
        strength = self._task.predict(self._task.at_label_size(output, label).double())
        valid = self._task.label.counted(label)
        p, g = strength[valid].double(), label[valid].double()
        # Counts by strength instead of all strengths: every threshold is tried at the end, in bounded memory.
        bins = (p * _BINS).long().clamp(min=0, max=_BINS - 1)
        self.add(
            edges=torch.bincount(bins[g == 1], minlength=_BINS),
            others=torch.bincount(bins[g != 1], minlength=_BINS),
            error=(p - g).abs().sum(),
        )

    def compute(self) -> dict[str, float]:
        """Return the metrics over all batches so far."""
        edges, others = self.sums["edges"], self.sums["others"]
        count = int((edges + others).sum())
        if not count:
            return {"pixel_f": float("nan"), "l1": float("nan")}
        found, false = _at_least(edges), _at_least(others)
        missed = edges.sum() - found
        f = 2 * found / (2 * found + false + missed).clamp(min=1)
        return {"pixel_f": float(f.max()), "l1": float(self.sums["error"]) / count}


def _at_least(histogram: Tensor) -> Tensor:
    """Return, as entry k, how many pixels have a strength of (k + 1) / 100 or more: edges by that threshold."""
    return histogram.flip(0).cumsum(0).flip(0)[1:].double()
