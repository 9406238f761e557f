"""What a model must offer to be trained, and the adapter that gives it to a Twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.graph.graph import BACKBONE, HEAD, JOIN
from trunkline.recipe import Moment
from trunkline.twins.components import Component
from trunkline.twins.twin import Twin


class Trainable(Protocol):
    """A model of several tasks that the runner can train. It is an ``nn.Module``; the rest is below."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks the model has outputs for."""

    def __call__(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return ``[N, K, h, w]`` by task from ``[N, C, H, W]``, computing only the wanted tasks (default: all)."""

    def groups(self) -> Mapping[str, Mapping[str, nn.Parameter]]:
        """Return disjoint groups of parameters by group name, then by parameter name.

        Group names have dots: a move of ``weights`` moves ``weights.backbone`` and ``weights.heads`` too.
        """

    def users(self) -> Mapping[str, frozenset[str]]:
        """Return, by parameter, the tasks that use it."""

    def components(self) -> tuple[Component, ...]:
        """Return the parts that no common weight joins; of several, weights by the names of group and state."""

    def at(self, moment: Moment) -> Mapping[str, float]:
        """Prepare for a step or an evaluation: set mode, temperature and noise, as a pure function of the moment.

        Returns:
            Numbers worth logging, such as ``{"temperature": 4.8}``.

        Raises:
            InvalidConfig: The model has no such mode.
        """

    def terms(self, names: Sequence[str], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return differentiable scalars that a turn adds to the loss.

        Args:
            names: Which ones.
            losses: The tasks' losses of this step, by name, of those that have a label.

        Raises:
            InvalidConfig: There is no such term.
        """

    def statistics(self) -> Mapping[str, Tensor]:
        """Return all running statistics by name: the tensors themselves."""

    def reset_statistics(self) -> None:
        """Let running statistics start anew: means at 0, variances at 1."""

    def train(self, mode: bool = True) -> Any:
        """As ``nn.Module``."""

    def state_dict(self) -> dict[str, Tensor]:
        """As ``nn.Module``: everything training changes, by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """As ``nn.Module``."""

    def to(self, device: torch.device) -> Any:
        """As ``nn.Module``."""


WeightTerm = Callable[[Mapping[str, Tensor]], Tensor]
"""A loss term over the weights of a model, by name: a differentiable scalar."""


class TaskModel(nn.Module):
    """A Twin whose outputs are named by task, as a :class:`Trainable`.

    It has no modes, its ``state_dict`` keys are the ONNX names, and its groups are the parts of the model.

    Args:
        twin: The model.
        parts: Of its weights, by name: ``backbone``, ``join`` or ``head``; all are the backbone's if absent.
        terms: Loss terms over its weights.
    """

    def __init__(
        self, twin: Twin, parts: Mapping[str, str] | None = None, terms: Mapping[str, WeightTerm] | None = None
    ) -> None:
        super().__init__()
        self.twin = twin
        self._parts = dict(parts or {})
        self._terms = dict(terms or {})

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.twin.output_names

    def forward(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the outputs of these tasks, computing only what they need."""
        outputs: dict[str, Tensor] = self.twin(image, tasks)
        return outputs

    def groups(self) -> dict[str, dict[str, nn.Parameter]]:
        """Return all parameters, by the part of the model that they belong to."""
        groups: dict[str, dict[str, nn.Parameter]] = {}
        for name, parameter in self.twin.trainable().items():
            group = _GROUPS[self._parts.get(name, BACKBONE)]
            groups.setdefault(group, {})[name] = parameter
        return groups

    def users(self) -> dict[str, frozenset[str]]:
        """Return the Twin's."""
        return self.twin.users()

    def components(self) -> tuple[Component, ...]:
        """Return the Twin's."""
        return self.twin.components()

    def at(self, moment: Moment) -> dict[str, float]:
        """Do nothing: sharing is fixed."""
        return {}

    def terms(self, names: Sequence[str], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return terms over the weights."""
        unknown = [name for name in names if name not in self._terms]
        if unknown:
            raise InvalidConfig(
                f'the model adds no term "{unknown[0]}" to the loss: its sharing is fixed',
                place=f"terms.{unknown[0]}",
                advice="remove the term, or train a supermodel",
            )
        weights: dict[str, Tensor] = dict(self.twin.trainable()) if names else {}
        return {name: self._terms[name](weights) for name in names}

    def statistics(self) -> dict[str, Tensor]:
        """Return the Twin's."""
        return self.twin.statistics()

    def reset_statistics(self) -> None:
        """Reset the Twin's."""
        self.twin.reset_statistics()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # torch overloads it
        """Return the Twin's, so that keys carry no prefix."""
        return self.twin.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load into the Twin."""
        return self.twin.load_state_dict(*args, **kwargs)


def parameter_group(model: Trainable, name: str) -> dict[str, nn.Parameter]:
    """Return a group, or all groups whose names go on behind a dot; raises InvalidConfig with the known names."""
    groups = model.groups()
    inside = [group for group in groups if group == name or group.startswith(f"{name}.")]
    if not inside:
        known = sorted({*groups, *(group.partition(".")[0] for group in groups)})
        advice = did_you_mean(name, known) or f"the model has: {', '.join(known)}"
        raise InvalidConfig(f'the model has no parameter group "{name}"', place="group", advice=advice)
    return {key: parameter for group in inside for key, parameter in groups[group].items()}


_GROUPS = {BACKBONE: "weights.backbone", JOIN: "weights.joins", HEAD: "weights.heads"}
