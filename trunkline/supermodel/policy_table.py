"""A policy as one tensor over units, tasks and options: what the cost terms compute with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_groups import ChoiceGroup, groups_of
from trunkline.supermodel.workload import keys_of

Probabilities = Mapping[str, Tensor]
"""Probabilities of options, ``[n, K]``, by group of choices."""


class PolicyTable(nn.Module):
    """Gathers a policy as one tensor ``[units, T, keys]``: what is decided is 1, and what a task may not choose 0."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        keys = keys_of(space)
        self.shape = (len(keys), len(space.tasks), max(len(options) for options in keys))
        self.register_buffer("decided", self._decided(space, keys), persistent=False)
        self._groups: list[str] = []
        for group in groups_of(space):
            if group.choices[0].of == "join":
                continue  # what is open about joins decides nothing about units
            self.register_buffer(f"places{len(self._groups)}", self._places(space, keys, group), persistent=False)
            self._groups.append(group.name)

    decided: Tensor

    def forward(self, policy: Probabilities) -> Tensor:
        """Return ``[units, T, keys]`` in double precision."""
        flat = self.decided.flatten()
        for number, name in enumerate(self._groups):
            places: Tensor = getattr(self, f"places{number}")
            there = places >= 0
            flat = flat.index_add(0, places[there], policy[name].double()[there])
        return flat.view(self.shape)

    def _decided(self, space: Space, keys: Sequence[Sequence[Option]]) -> Tensor:
        decided = torch.zeros(self.shape, dtype=torch.float64)
        for unit, name in enumerate(space.table.names):
            for task, own in enumerate(space.tasks):
                options = space.entries[name][own]
                if len(options) == 1:
                    decided[unit, task, keys[unit].index(options[0])] = 1.0
        return decided

    def _places(self, space: Space, keys: Sequence[Sequence[Option]], group: ChoiceGroup) -> Tensor:
        """Return where each probability of a group stands in the flat table, ``[n, options]``; -1 for none."""
        _, tasks, width = self.shape
        places = torch.full((len(group.choices), group.options), -1)
        for row, choice in enumerate(group.choices):
            unit, task = space.table.names.index(choice.place), space.tasks.index(choice.task)
            for option, content in enumerate(space.entries[choice.place][choice.task]):
                places[row, option] = (unit * tasks + task) * width + keys[unit].index(content)
        return places
