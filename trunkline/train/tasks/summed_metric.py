"""A metric that is a function of sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor


class SummedMetric(ABC):
    """A metric whose state is sums over all that was seen, so merging is adding.

    Hence the states of several processes can be added by whatever adds tensors.

    Args:
        sums: Zeros, by name; ``update`` adds to them. Sums of fractions are float64, counts int64.
    """

    def __init__(self, **sums: Tensor) -> None:
        self.sums = sums

    @abstractmethod
    def update(self, output: Tensor, label: Tensor) -> None:
        """Count one batch."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return the metrics over all batches so far."""

    def add(self, **amounts: Tensor) -> None:
        """Add to the sums; amounts may lie on any device."""
        for name, amount in amounts.items():
            self.sums[name] += amount.to(self.sums[name])

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the sums."""
        return {name: total.clone() for name, total in self.sums.items()}

    def merge(self, state: Mapping[str, Tensor]) -> None:
        """Add the sums of another metric of the same task."""
        self.add(**{name: state[name] for name in self.sums})
