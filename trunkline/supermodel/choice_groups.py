"""The open choices of a space, in groups that have their logits in one tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.space import Space


@dataclass(frozen=True, slots=True)
class ChoiceGroup:
    """Open choices of one task that share one parameter of logits.

    Each task has a parameter of its own, so that a step on one task's loss leaves the others' alone: neither momentum
    nor decay moves a parameter without a gradient.

    Attributes:
        name: The task, with ``.joins`` or ``.reads`` for what is open about joins.
        choices: In the order of the rows.
        options: K, the greatest number of options that any of them has.
        binary: Whether each is a read that is off or on, with one logit.
        allowed: Which options exist, ``[n, options]``.
    """

    name: str
    choices: tuple[ChoiceId, ...]
    options: int
    binary: bool
    allowed: tuple[tuple[bool, ...], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the logits."""
        return len(self.choices), 1 if self.binary else self.options

    def mask(self) -> Tensor:
        """Return ``allowed`` as a tensor."""
        return torch.tensor(self.allowed, dtype=torch.bool)


def groups_of(space: Space) -> tuple[ChoiceGroup, ...]:
    """Return the open choices of a space by group, task by task."""
    found: dict[str, list[ChoiceId]] = {}
    for choice in space.choices:
        found.setdefault(_group_name(choice), []).append(choice)
    return tuple(_group(space, name, tuple(choices)) for name, choices in found.items())


def _group_name(choice: ChoiceId) -> str:
    if choice.read is not None:
        return f"{choice.task}.reads"
    # A dot parts them: no task name has one, so `depth.joins` is no task.
    return choice.task if choice.of == "unit" else f"{choice.task}.joins"


def _group(space: Space, name: str, choices: tuple[ChoiceId, ...]) -> ChoiceGroup:
    counts = [space.option_count(choice) for choice in choices]
    most = max(counts)
    # Options are numbered from 0 without gaps, so those that a choice lacks are the last: mostly the skip.
    allowed = tuple(tuple(option < count for option in range(most)) for count in counts)
    binary = choices[0].read is not None
    return ChoiceGroup(name, choices, most, binary, allowed)
