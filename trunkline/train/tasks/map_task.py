"""A task that predicts a value or a vector for every pixel."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from trunkline.train.labels.crop import Size
from trunkline.train.labels.label_kind import MapLabel
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.resize import Upsample, nearest, output_to


@dataclass(frozen=True, kw_only=True)
class MapTask(Task):
    """A task whose outputs ``[N, K, h, w]`` and labels are maps, not always of one size.

    Attributes:
        loss_size: Where the loss is taken: at the ``output``'s size, on labels taken down by nearest neighbour, as
            AdaShare, AutoMTL and TreeMTL do; or at the ``label``'s size, on the up-sampled output.
        upsample: How outputs are brought to the label's size, for metrics (and for ``loss_size="label"``). The
            papers use "nearest".
    """

    loss_size: Literal["output", "label"] = "output"
    upsample: Upsample = "bilinear"

    label: ClassVar[MapLabel]

    def loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss summed over the pixels that count, and how many those are.

        Raises:
            InvalidModel: The output's channels are not the task's.
        """
        self.check(output)
        # Labels go down by nearest neighbour: a mean of two class numbers, or of a depth and an invalid 0, is neither.
        if self.loss_size == "output":
            return self.pixel_loss_sum(output.float(), nearest(label, _size(output)))
        return self.pixel_loss_sum(output_to(output, _size(label), self.upsample), label)

    @abstractmethod
    def pixel_loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum and the count of :meth:`loss_sum`, for an output and a label of the same size."""

    def at_label_size(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the output at the label's size, detached, for metrics."""
        self.check(output)
        return output_to(output.detach(), _size(label), self.upsample)

    def predict_for(self, output: Tensor, size: Size) -> Tensor:
        """Return the prediction at this size, up-sampled smoothly."""
        # The output before the decision, not after: between two class numbers lies no class.
        return self.predict(output_to(output, size, "bilinear"))


def _size(tensor: Tensor) -> Size:
    return int(tensor.shape[-2]), int(tensor.shape[-1])
