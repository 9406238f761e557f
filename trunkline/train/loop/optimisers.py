"""Optimisers of named parameters, whose state can be written down by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trunkline.errors import CorruptCheckpoint
from trunkline.recipe import Optimiser
from trunkline.twins.components import Component


class NamedOptimiser:
    """One torch optimiser over one parameter group.

    Args:
        settings: Kind and numbers.
        parameters: By name; their order is the order of ``settings``' arithmetic and must not depend on the run.
        components: Of the model; one component where none are given.
    """

    def __init__(
        self, settings: Optimiser, parameters: Mapping[str, nn.Parameter], components: Sequence[Component] = ()
    ) -> None:
        self.parameters = dict(parameters)
        self.parts = _parts(self.parameters, components)
        """The parameters of each component."""
        self.torch = _make(settings, list(self.parameters.values()))

    def zero_grad(self) -> None:
        """Forget all gradients: None, not zeros, so that what no loss reaches does not move."""
        self.torch.zero_grad(set_to_none=True)

    def step(self, lr: float) -> None:
        """Move the parameters that have a gradient."""
        for group in self.torch.param_groups:
            group["lr"] = lr
        self.torch.step()

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradients there are, by parameter name."""
        return {name: p.grad for name, p in self.parameters.items() if p.grad is not None}

    def state(self) -> dict[str, Tensor]:
        """Return the state as ``slot/parameter`` → tensor; a parameter that never moved has none."""
        return {
            f"{slot}/{name}": value
            for name, parameter in self.parameters.items()
            for slot, value in self.torch.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Set the state to what :meth:`state` returned.

        Raises:
            CorruptCheckpoint: A parameter is unknown, or a shape differs.
        """
        self.torch.state.clear()
        for key, value in state.items():
            slot, _, name = key.partition("/")
            parameter = self.parameters.get(name)
            if parameter is None or (slot != "step" and value.shape != parameter.shape):
                raise CorruptCheckpoint(f'optimiser state "{key}" of shape {list(value.shape)} fits no parameter')
            self.torch.state[parameter][slot] = value.clone() if slot == "step" else _like(parameter, value)


def _parts(parameters: Mapping[str, nn.Parameter], components: Sequence[Component]) -> list[list[nn.Parameter]]:
    if len(components) < 2:
        return [list(parameters.values())]
    return [[p for name, p in parameters.items() if name in component.weights] for component in components]


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """Return ``value`` on the device and in the memory layout that a fresh optimiser would have used."""
    return torch.empty_like(parameter, dtype=value.dtype, memory_format=torch.preserve_format).detach().copy_(value)


def _make(settings: Optimiser, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.kind == "adam":
        return torch.optim.Adam(parameters, betas=settings.betas, **common)
    return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
