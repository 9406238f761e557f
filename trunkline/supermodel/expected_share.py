"""What all expected costs have in common: a number in a unit of their own, and its share of T independent backbones."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from trunkline.supermodel.policy_table import Probabilities


class ExpectedShare(nn.Module, ABC):
    """An expected cost; a kind of it says how it is computed.

    Args:
        independent: What T independent backbones cost, in the unit of :meth:`absolute`.
    """

    def __init__(self, independent: float) -> None:
        super().__init__()
        # A table of times may hold zeros only; the share of nothing is 0 then, not NaN.
        self._scale = 1.0 / max(1e-30, independent)

    def forward(self, policy: Probabilities) -> Tensor:
        """Return E as a share of T independent backbones."""
        return self.absolute(policy) * self._scale

    @abstractmethod
    def absolute(self, policy: Probabilities) -> Tensor:
        """Return E in the unit of the costs."""
