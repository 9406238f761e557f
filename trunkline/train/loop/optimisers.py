"""Optimisers of named parameters, whose state can be written down by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trunkline.errors import CorruptCheckpoint
from trunkline.recipe import Optimiser, Turn
from trunkline.text import quoted, shape_text
from trunkline.train.loop.trainable import Trainable, parameter_group
from trunkline.twins.components import Component


class NamedOptimiser:
    """One torch optimiser over one parameter group.

    Args:
        settings: Kind and numbers.
        parameters: By name; their order is the order of ``settings``' arithmetic and must not depend on the run.
        users: By parameter, how many tasks' rates it is divided by; 1 where nothing is given.
    """

    def __init__(
        self, settings: Optimiser, parameters: Mapping[str, nn.Parameter], users: Mapping[str, int] | None = None
    ) -> None:
        self.parameters = dict(parameters)
        by_users: dict[int, list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            by_users.setdefault((users or {}).get(name, 1), []).append(parameter)
        # torch has one learning rate for each group. It refuses an optimiser without a group; an empty group will do.
        self._users = sorted(by_users) or [1]
        self.torch = _torch_optimiser(settings, [by_users.get(number, []) for number in self._users])

    def zero_grad(self) -> None:
        """Forget all gradients: None, not zeros, so that what no loss reaches does not move."""
        self.torch.zero_grad(set_to_none=True)

    def step(self, lr: float) -> None:
        """Move the parameters that have a gradient."""
        for group, users in zip(self.torch.param_groups, self._users, strict=True):
            group["lr"] = lr / users
        self.torch.step()

    def forget(self) -> None:
        """Drop momentum and moments, as if nothing had moved yet."""
        self.torch.state.clear()

    def state(self) -> dict[str, Tensor]:
        """Return the state as ``slot/parameter`` → tensor; a parameter that never moved has none."""
        state: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            slots = self.torch.state.get(parameter, {})
            state |= {f"{slot}/{name}": value for slot, value in slots.items() if isinstance(value, Tensor)}
        return state

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Set the state to what :meth:`state` returned.

        Raises:
            CorruptCheckpoint: A parameter is unknown, or a shape differs.
        """
        # torch's own load_state_dict goes by the position of a parameter; by name, it is found wherever it is.
        self.torch.state.clear()
        for key, value in state.items():
            slot, _, name = key.partition("/")
            parameter = self.parameters.get(name)
            # Adam counts its steps in a scalar of its own, which torch keeps on the CPU.
            is_counter = slot == "step"
            if parameter is None or (not is_counter and value.shape != parameter.shape):
                found = f"optimiser state {quoted(key)} of shape {shape_text(value.shape)}"
                raise CorruptCheckpoint(f"{found} fits no parameter")
            self.torch.state[parameter][slot] = value.clone() if is_counter else _like(parameter, value)


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """Return ``value`` on the device and in the memory layout that a fresh optimiser would have used."""
    return torch.empty_like(parameter, dtype=value.dtype, memory_format=torch.preserve_format).detach().copy_(value)


def _torch_optimiser(settings: Optimiser, groups: Sequence[list[nn.Parameter]]) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    parameters = [{"params": group} for group in groups]
    if settings.kind == "adam":
        # Not AdamW: the papers' code decays inside the gradient.
        return torch.optim.Adam(parameters, betas=settings.betas, **common)
    return torch.optim.SGD(parameters, momentum=settings.momentum, nesterov=settings.nesterov, **common)


class TurnOptimiser:
    """The optimisers of a turn's moves, as one.

    Args:
        turn: The turn that makes the moves.
        model: A model that has the groups that the turn moves.
        components: The model's components; one component where none are given.
    """

    def __init__(self, turn: Turn, model: Trainable, components: Sequence[Component] = ()) -> None:
        users = {name: len(tasks) for name, tasks in model.users().items()}
        self.moves: dict[str, NamedOptimiser] = {}
        for move in turn.moves:
            parameters = parameter_group(model, move.group)
            self.moves[move.group] = NamedOptimiser(move.optimiser, parameters, users if move.per_user else None)
        self.parameters: dict[str, nn.Parameter] = {}
        for optimiser in self.moves.values():
            self.parameters |= optimiser.parameters
        self.by_component = _by_component(self.parameters, components)
        """The parameters of each component."""

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for move in self.moves.values():
            move.zero_grad()

    def step(self, rates: Mapping[str, float]) -> None:
        """Move the parameters that have a gradient, each group at its rate."""
        for group, move in self.moves.items():
            move.step(rates[group])

    def forget(self) -> None:
        """Let all optimisers start again."""
        for move in self.moves.values():
            move.forget()

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradients there are, by parameter name."""
        return {name: p.grad for name, p in self.parameters.items() if p.grad is not None}

    def state(self) -> dict[str, Tensor]:
        """Return the state of all optimisers, by group and name."""
        return merge_states({group: move.state() for group, move in self.moves.items()})

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Set the state to what :meth:`state` returned; raises CorruptCheckpoint."""
        for group, move in self.moves.items():
            move.load(state_of(state, group))


def merge_states(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return several states as one, ``name/key`` → tensor."""
    together: dict[str, Tensor] = {}
    for name, state in states.items():
        together |= {f"{name}/{key}": tensor for key, tensor in state.items()}
    return together


def state_of(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return what :func:`merge_states` put under ``name``."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def _by_component(parameters: Mapping[str, nn.Parameter], components: Sequence[Component]) -> list[list[nn.Parameter]]:
    # Only where there are several do the names in `weights` have to be those of the parameters.
    if len(components) < 2:
        return [list(parameters.values())]
    found = []
    for component in components:
        found.append([parameter for name, parameter in parameters.items() if name in component.weights])
    return found
