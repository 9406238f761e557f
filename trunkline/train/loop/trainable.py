"""The protocol of models that can be trained, and the adapter that makes a Twin one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.graph.graph import BACKBONE, HEAD, JOIN
from trunkline.recipe import Moment
from trunkline.text import quoted
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
        """Return disjoint groups of parameters, by the name of the group and then of the parameter.

        Group names may have dots: a move of ``weights`` moves ``weights.backbone`` and ``weights.heads``.
        """

    def users(self) -> Mapping[str, frozenset[str]]:
        """Return, by parameter, the tasks that may use it, whatever the mode.

        Each parameter of :meth:`groups` is there: what no task of a step uses is not moved by that step's terms.
        """

    def components(self) -> tuple[Component, ...]:
        """Return the parts of the model that have no weight in common.

        Where there are several, their weights go by the names that groups and ``state_dict`` have.
        """

    def at(self, moment: Moment) -> Mapping[str, float]:
        """Prepare for a step or an evaluation: set mode, temperature and noise, as a pure function of the moment.

        Returns:
            Numbers worth logging, such as ``{"temperature": 4.8}``.

        Raises:
            InvalidConfig: The model has no such mode.
        """

    def needs_total(self, mode: str) -> bool:
        """Return whether anything in a mode depends on how many steps there will be (``moment.of``, ``moment.done``).

        A phase then cannot be made longer when it is resumed: its steps so far would have been other steps.
        """

    def terms(self, names: Sequence[str], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return differentiable scalars that a turn adds to the loss.

        A term may reach what no loss reaches: reward · Σ log π moves a policy that is drawn (REINFORCE).

        Args:
            names: Names of the terms.
            losses: The losses of this step by task, of the tasks that have a label.

        Raises:
            InvalidConfig: There is no such term.
        """

    def option_probabilities(self) -> Mapping[str, Mapping[str, Sequence[float]]]:
        """Return how probable each option of what is open is now, by group and choice; empty where nothing is open."""

    def statistics(self) -> Mapping[str, Tensor]:
        """Return all running statistics by name: the tensors themselves, not copies."""

    def reset_statistics(self) -> None:
        """Set running statistics to their start: means to 0, variances to 1."""

    def train(self, mode: bool = True) -> Any:
        """Set training or evaluation mode; see ``nn.Module``."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that training changes, by name; see ``nn.Module``."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Set everything that training changes; see ``nn.Module``."""

    def to(self, device: torch.device) -> Any:
        """Move the model to a device, in place; see ``nn.Module``."""


WeightTerm = Callable[[Mapping[str, Tensor]], Tensor]
"""A differentiable scalar computed from the weights of a model, by name; a loss term."""

_GROUPS = {BACKBONE: "weights.backbone", JOIN: "weights.joins", HEAD: "weights.heads"}


class TaskModel(nn.Module):
    """A Twin whose outputs are named by task, as a :class:`Trainable`.

    It has no modes, its ``state_dict`` keys are the ONNX names, and its groups are the parts of the model.

    Args:
        twin: The model, whose outputs are named by task.
        parts: Which part each weight belongs to, by name: ``backbone``, ``join`` or ``head``. Without it, all weights
            are the backbone's.
        terms: Loss terms over the weights, by name.

    >>> from trunkline.graph.builder import GraphBuilder
    >>> from trunkline.graph.fillers import Filler
    >>> builder = GraphBuilder("net")
    >>> image, weight = builder.image("image", (3, 4, 4)), builder.weight("conv/w:0", (1, 3, 1, 1), Filler("msra"))
    >>> graph = builder.finish([builder.node("Conv", [image, weight], name="depth")])
    >>> model = TaskModel(Twin(graph), terms={"decay": lambda weights: weights["conv/w:0"].square().sum()})
    >>> model(torch.zeros(2, 3, 4, 4))["depth"].shape
    torch.Size([2, 1, 4, 4])
    >>> {group: list(parameters) for group, parameters in model.groups().items()}
    {'weights.backbone': ['conv/w:0']}
    >>> model.users()
    {'conv/w:0': frozenset({'depth'})}
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
        """Return, by parameter, the tasks whose outputs need it."""
        return self.twin.users()

    def components(self) -> tuple[Component, ...]:
        """Return the parts of the model that have no weight in common."""
        return self.twin.components()

    def at(self, moment: Moment) -> dict[str, float]:
        """Do nothing, since sharing is fixed: there is no mode, temperature or noise."""
        return {}

    def needs_total(self, mode: str) -> bool:
        """Return False: nothing depends on the moment."""
        return False

    def terms(self, names: Sequence[str], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the terms of these names, computed from the weights."""
        unknown = [name for name in names if name not in self._terms]
        if unknown:
            raise InvalidConfig(
                f"the model adds no term {quoted(unknown[0])} to the loss: its sharing is fixed",
                place=f"terms.{unknown[0]}",
                advice="remove the term, or train a supermodel",
            )
        # Called at every step: weights are collected only where a term reads them.
        weights: dict[str, Tensor] = dict(self.twin.trainable()) if names else {}
        return {name: self._terms[name](weights) for name in names}

    def option_probabilities(self) -> dict[str, dict[str, list[float]]]:
        """Return nothing: sharing is fixed."""
        return {}

    def statistics(self) -> dict[str, Tensor]:
        """Return all running statistics by name: the tensors themselves, not copies."""
        return self.twin.statistics()

    def reset_statistics(self) -> None:
        """Set running statistics to their start: means to 0, variances to 1."""
        self.twin.reset_statistics()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # torch overloads it
        """Return the Twin's own, so that keys are the ONNX names, without a prefix ``twin.``."""
        return self.twin.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Set the Twin's tensors by their ONNX names."""
        return self.twin.load_state_dict(*args, **kwargs)


def parameter_group(model: Trainable, name: str) -> dict[str, nn.Parameter]:
    """Return the parameters of a group, or of all groups whose names begin with it and a dot.

    Raises:
        InvalidConfig: There is no such group; the known ones are named.
    """
    groups = model.groups()
    inside = [group for group in groups if group == name or group.startswith(f"{name}.")]
    if not inside:
        known = sorted({*groups, *(group.partition(".")[0] for group in groups)})
        advice = did_you_mean(name, known) or f"the model has: {', '.join(known)}"
        raise InvalidConfig(f"the model has no parameter group {quoted(name)}", place="group", advice=advice)
    parameters: dict[str, nn.Parameter] = {}
    for group in inside:
        parameters |= groups[group]
    return parameters
