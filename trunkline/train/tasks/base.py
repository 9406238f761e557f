"""The base of all tasks: a loss to train by, a metric to evaluate by, and a way to show labels as pictures.

A kind of task is one file beside this one that defines one subclass of :class:`Task` with a ``kind`` of its own;
:mod:`trunkline.train.tasks.registry` finds it. The other files of the folder hold what several kinds use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from trunkline.errors import InvalidModel
from trunkline.text import quoted, shape_text
from trunkline.train.labels.crop import Size
from trunkline.train.labels.label_kind import LabelKind


class Metric(Protocol):
    """Compares predictions with labels batch by batch, in bounded memory.

    Values are pooled over all pixels, or images, that count: any division of the same samples into batches, and of the
    batches among metrics that are merged, gives the same numbers. Fractions lie in [0, 1]; a value is NaN where
    nothing that counts was seen.
    """

    def update(self, output: Tensor, label: Tensor) -> None:
        """Add one batch: output ``[N, K, ...]``, label at its own size."""

    def state(self) -> dict[str, Tensor]:
        """Return everything added so far, as tensors that :meth:`merge` accepts."""

    def merge(self, state: Mapping[str, Tensor]) -> None:
        """Add the batches of another metric of the same task, given its state."""

    def compute(self) -> dict[str, float]:
        """Return every metric over all batches so far."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A vision task. A field of a subclass is an option of its kind: words to choose from, or a number from 0 on.

    Attributes:
        name: Name of the task, of its labels and of its model output.
        channels: Channels of its model output.
        weight: Factor of its loss in a sum over tasks.
        kind: The name of the kind in a pipeline file; only a class that has its own is a kind.
        label: The form of its labels.
        possible_channels: How many channels such a task may have.
        usual_channels: How many it has where none are given, as on the command line.

    >>> import torch
    >>> from trunkline.train.tasks.registry import make_task
    >>> depth = make_task("depth", "depth", channels=1)
    >>> output, label = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[2.0, 0.0]]]])
    >>> depth.loss(output, label)  # the second pixel has no depth
    tensor(1.)
    >>> metric = depth.metric()
    >>> metric.update(output, label)
    >>> metric.compute()["rel_error"]
    0.5
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
        # Where nothing counts, 0 / 1: a NaN would end the training.
        return total / count.clamp(min=1)

    @abstractmethod
    def loss_sum(self, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss summed over all pixels, or images, that count, and their number.

        :meth:`loss` is the quotient of the two. Sums of parts of a batch can be added; means could not.

        Raises:
            InvalidModel: The output is not of the task's shape.
        """

    def check(self, output: Tensor) -> None:
        """Raise InvalidModel where the output is not of the task's shape."""
        if not self.label.fits(output.shape, self.channels):
            raise InvalidModel(
                f"the output has shape {shape_text(output.shape)}, expected {self.label.output_text(self.channels)}",
                place=f"task {quoted(self.name)} ({self.kind})",
                advice="give the task's head as many output channels as the task has",
            )

    @abstractmethod
    def metric(self) -> Metric:
        """Return a metric that has seen no batch."""

    @property
    @abstractmethod
    def higher_is_better(self) -> Mapping[str, bool]:
        """The metrics that count in comparisons between models, and their directions."""

    @property
    def informative(self) -> Mapping[str, bool]:
        """Further metrics that :meth:`Metric.compute` returns, shown in tables only, and their directions."""
        return {}

    @abstractmethod
    def predict(self, output: Tensor) -> Tensor:
        """Return the prediction for an output ``[N, K, ...]``, in the form of a label."""

    def predict_for(self, output: Tensor, size: Size) -> Tensor:
        """Return the prediction at this height and width, for pictures."""
        return self.predict(output.float())

    @property
    def drawing(self) -> Mapping[str, Any]:
        """How a program that knows nothing of tasks draws an output of the model; see ``docs/bundle.md``.

        By default a map is shown in grey, from 0 to 1; a kind whose outputs mean something else says so.
        """
        return {"draw": "ramp", "low": 0.0, "high": 1.0, "colours": [[0, 0, 0], [255, 255, 255]]}

    @abstractmethod
    def picture(self, array: np.ndarray) -> np.ndarray:
        """Return a picture of one label or prediction, without batch axis.

        It is uint8 ``[H, W, 3]``, or ``[1, 1, 3]``, one colour, for a label of the whole image.
        """
