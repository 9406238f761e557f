"""The one small interface of a search method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trunkline.graph.graph import Graph
from trunkline.recipe import Mode
from trunkline.sharing.lowering.lower import Lowered
from trunkline.sharing.plan import SharingPlan
from trunkline.twins.components import Component


class SearchMethod(Protocol):
    """A trainable model that ends in a sharing plan.

    It is an ``nn.Module``; the trainer calls the methods below and knows nothing else of it.
    """

    tasks: tuple[str, ...]

    def __init__(
        self, backbone: Graph, heads: Mapping[str, Graph], tasks: Sequence[str], options: Any, *, seed: int
    ) -> None: ...

    def __call__(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return predictions by task."""

    def train(self, mode: bool = True) -> Any:
        """As ``nn.Module``."""

    def state_dict(self) -> dict[str, Tensor]:
        """As ``nn.Module``."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """As ``nn.Module``."""

    def to(self, device: torch.device) -> Any:
        """As ``nn.Module``."""

    def parameter_groups(self) -> Mapping[str, Mapping[str, nn.Parameter]]:
        """Return what a turn may train, by group and name."""

    def components(self) -> tuple[Component, ...]:
        """Return the parts that no common weight joins."""

    def begin_step(self, step: int, *, mode: Mode) -> Mapping[str, float]:
        """Set the mode and this step's noise; return numbers worth logging. An unknown mode is an error."""

    def term(self, name: str) -> Tensor:
        """Return a loss term as a differentiable scalar."""

    def weights(self, lowered: Lowered) -> Mapping[str, Tensor]:
        """Return what a plan's model starts from when it goes on from the search, by the names of its weights.

        Raises:
            InvalidConfig: It is for other tasks.
            InvalidModel: It has weights that the search has not.
        """

    def policy_json(self) -> dict[str, Any]:
        """Return the learned policy: ``units``, ``tasks`` and ``probabilities``, ``[units][tasks][options]``."""

    def decide(self) -> SharingPlan:
        """Return the plan that the learned policy amounts to."""
