"""What a model must offer to be trained, and the adapter that gives it to a Twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.twins.components import Component
from trunkline.twins.twin import Twin


class Trainable(Protocol):
    """A model of several tasks that the runner can train. It is an ``nn.Module``; the rest is below."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks the model has outputs for."""

    def __call__(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return ``[N, K, h, w]`` by task from ``[N, C, H, W]``, computing only the wanted tasks (default: all)."""

    def parameter_groups(self) -> Mapping[str, Mapping[str, nn.Parameter]]:
        """Return disjoint groups of parameters by group name, then by parameter name."""

    def components(self) -> tuple[Component, ...]:
        """Return the parts that no common weight joins; of several, weights by the names of group and state."""

    def begin_step(self, step: int, *, mode: Any) -> Mapping[str, float]:
        """Prepare for step ``step`` of the phase: set mode, temperature and noise, as a pure function of the step.

        Args:
            step: From 0.
            mode: A word; ``Any``, so that models may declare the few words they know.

        Returns:
            Numbers worth logging, such as ``{"temperature": 4.8}``.
        """

    def term(self, name: str) -> Tensor:
        """Return a differentiable scalar that a turn may add to the loss; raises InvalidConfig if unknown."""

    def train(self, mode: bool = True) -> Any:
        """As ``nn.Module``."""

    def state_dict(self) -> dict[str, Tensor]:
        """As ``nn.Module``: everything training changes, by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """As ``nn.Module``."""

    def to(self, device: torch.device) -> Any:
        """As ``nn.Module``."""


class TaskModel(nn.Module):
    """A Twin whose outputs are named by task, as a :class:`Trainable`.

    It has one parameter group, "weights", knows no modes and no terms, and its ``state_dict`` keys are the ONNX names.
    """

    def __init__(self, twin: Twin) -> None:
        super().__init__()
        self.twin = twin

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.twin.output_names

    def forward(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the outputs of these tasks, computing only what they need."""
        outputs: dict[str, Tensor] = self.twin(image, tasks)
        return outputs

    def parameter_groups(self) -> dict[str, dict[str, nn.Parameter]]:
        """Return all parameters, as "weights"."""
        return {"weights": self.twin.trainable()}

    def components(self) -> tuple[Component, ...]:
        """Return the Twin's."""
        return self.twin.components()

    def begin_step(self, step: int, *, mode: str) -> dict[str, float]:
        """Do nothing: sharing is fixed."""
        return {}

    def term(self, name: str) -> Tensor:
        """Refuse: terms belong to models with choices."""
        raise InvalidConfig(
            f'the model adds no term "{name}" to the loss: its sharing is fixed',
            place=f"terms.{name}",
            advice="remove the term, or train a supermodel",
        )

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # torch overloads it
        """Return the Twin's, so that keys carry no prefix."""
        return self.twin.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load into the Twin."""
        return self.twin.load_state_dict(*args, **kwargs)


def parameter_group(model: Trainable, name: str) -> Mapping[str, nn.Parameter]:
    """Return one group; raises InvalidConfig with the known names."""
    groups = model.parameter_groups()
    if name not in groups:
        advice = did_you_mean(name, groups) or f"the model has: {', '.join(groups)}"
        raise InvalidConfig(f'the model has no parameter group "{name}"', place="group", advice=advice)
    return groups[name]
