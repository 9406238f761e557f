"""What a task is: a loss to train by, a metric to judge by, and a way to show its labels.

A kind of task is one file beside this one that defines one subclass of :class:`Task` with a ``kind`` of its own;
:mod:`trunkline.train.tasks.registry` finds it. Files without such a class serve the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from torch import Tensor

from trunkline.errors import InvalidModel
from trunkline.train.labels.crop import Size
from trunkline.train.labels.label_kind import LabelKind


class Metric(Protocol):
    """Collects predictions batch by batch, in bounded memory.

    Values are pooled over all that counts in the labels: any division of the same samples into batches, and of the
    batches among metrics that are merged, gives the same numbers. Fractions lie in [0, 1]; a value is NaN where
    nothing was seen that counts.
    """

    def update(self, output: Tensor, label: Tensor) -> None:
        """Count one batch: output ``[N, K, ...]``, label at its own size."""

    def state(self) -> dict[str, Tensor]:
        """Return all that was counted so far."""

    def merge(self, state: Mapping[str, Tensor]) -> None:
        """Count what another metric of the same task has counted, given its state."""

    def compute(self) -> dict[str, float]:
        """Return every metric over all batches so far."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A vision task. A field of a subclass is an option of its kind: words to choose from, or a number from 0 on.

    Attributes:
        name: Name of the task, of its labels and of its model output.
        channels: Channels of its model output.
        weight: Factor of its loss in a sum over tasks.
        kind: What users call such tasks; only a class that has its own is a kind.
        label: What its labels are.
        possible_channels: How many channels such a task may have.
        usual_channels: How many it has where nobody says it, as on the command line.
    """

    name: str
    channels: int
    weight: float = 1.0

    kind: ClassVar[str]
    label: ClassVar[LabelKind]
    possible_channels: ClassVar[range] = range(1, 2)
    usual_channels: ClassVar[int] = 1

    def loss(self, output: Tensor, label: Tensor) -> Tensor:
        """Return the scalar loss of output ``[N, K, ...]``; 0 with zero gradient where nothing has a label.

        Raises:
            InvalidModel: The output is not of the task's shape.
        """
        total, count = self.loss_sum(output, label)
        return total / count.clamp(min=1)

    @abstractmethod
    def loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss summed over all that counts, and how much that is: :meth:`loss` is their quotient.

        Raises:
            InvalidModel: The output is not of the task's shape.
        """

    def check(self, output: Tensor) -> None:
        """Raise InvalidModel where the output is not of the task's shape."""
        if not self.label.fits(output.shape, self.channels):
            raise InvalidModel(
                f"the output has shape {list(output.shape)}, expected {self.label.output_text(self.channels)}",
                place=f'task "{self.name}" ({self.kind})',
                advice="give the task's head as many output channels as the task has",
            )

    @abstractmethod
    def metric(self) -> Metric:
        """Return an empty metric."""

    @property
    @abstractmethod
    def higher_is_better(self) -> Mapping[str, bool]:
        """The metrics that count in comparisons between models, and their directions."""

    @property
    def informative(self) -> Mapping[str, bool]:
        """Further metrics that :meth:`Metric.compute` returns, for tables only, and their directions."""
        return {}

    @abstractmethod
    def predict(self, output: Tensor) -> Tensor:
        """Turn an output ``[N, K, ...]`` into what its label would be."""

    def predict_for(self, output: Tensor, size: Size) -> Tensor:
        """Turn an output into what the labels of images of this height and width would be, for pictures."""
        return self.predict(output.float())

    @abstractmethod
    def picture(self, array: np.ndarray) -> np.ndarray:
        """Show one label or prediction (without batch axis) as uint8 ``[H, W, 3]``, or as one colour ``[1, 1, 3]``."""
