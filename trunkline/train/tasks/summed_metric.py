"""Base of the metrics that are functions of sums over all pixels or images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor


class SummedMetric(ABC):
    """A metric whose state is sums over everything seen so far, so that merging two states is adding them.

    Several processes can thus share one metric: an all-reduce adds their states.

    Args:
        sums: Zeros, by name; ``update`` adds to them. Sums of fractions are float64, counts int64.

    >>> import torch
    >>> from trunkline.train.tasks.registry import make_task
    >>> one, other = (make_task("objects", "classification", channels=2).metric() for _ in range(2))
    >>> one.update(torch.tensor([[2.0, 1.0]]), torch.tensor([0]))
    >>> other.update(torch.tensor([[2.0, 1.0]]), torch.tensor([1]))
    >>> one.merge(other.state())
    >>> one.compute()
    {'accuracy': 0.5}
    """

    def __init__(self, **sums: Tensor) -> None:
        self.sums = sums

    @abstractmethod
    def update(self, output: Tensor, label: Tensor) -> None:
        """Add one batch: output ``[N, K, ...]``, label at its own size."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return every metric over all batches so far."""

    def add(self, **amounts: Tensor) -> None:
        """Add to the sums; amounts may lie on any device."""
        # Sums stay on the CPU, where they were made: not every device has float64.
        for name, amount in amounts.items():
            self.sums[name] += amount.to(self.sums[name])

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the sums."""
        return {name: total.clone() for name, total in self.sums.items()}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        """Add the sums of another metric of the same task."""
        self.add(**{name: state[name] for name in self.sums})
