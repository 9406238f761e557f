"""The learned distribution over the open choices of a space, and how the coming forward passes choose from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.recipe import Moment
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_groups import ChoiceGroup, groups_of
from trunkline.supermodel.choices import Argmax, Average, Draw, Relaxation, Soft
from trunkline.text import quoted

COMMON: Mapping[str, Relaxation] = {"average": Average(), "soft": Soft(), "argmax": Argmax()}
"""Modes that every supermodel has."""


class ChoicePolicy(nn.Module):
    """Logits by group of choices, all 0 at the start, and a relaxation for each mode.

    Args:
        space: What is open.
        modes: Relaxations by mode, beside ``average``, ``soft`` and ``argmax``.
        seed: Of all noise.
    """

    def __init__(self, space: Space, modes: Mapping[str, Relaxation], *, seed: int = 0) -> None:
        super().__init__()
        self.space, self.seed = space, seed
        self.modes: Mapping[str, Relaxation] = {**COMMON, **modes}
        self.groups_of_choices: Mapping[str, ChoiceGroup] = {group.name: group for group in groups_of(space)}
        self.policies = nn.ParameterList(nn.Parameter(torch.zeros(g.shape)) for g in self.groups_of_choices.values())
        # By number: a group may be called `depth.reads`, and torch lets no name of a buffer or parameter have a dot.
        self._numbers = {name: number for number, name in enumerate(self.groups_of_choices)}
        for name, group in self.groups_of_choices.items():
            self.register_buffer(f"allowed{self._numbers[name]}", group.mask(), persistent=False)
        # Before a trainer has set the progress; no noise is drawn for it.
        self._moment = Moment("", "average")

    @property
    def relaxation(self) -> Relaxation:
        """How the coming forward passes choose."""
        return self.modes[self._moment.mode]

    def at(self, moment: Moment) -> Mapping[str, float]:
        """Set how the coming forward passes choose; all noise is a pure function of the moment and the seed.

        Raises:
            InvalidConfig: There is no such mode.
        """
        if moment.mode not in self.modes:
            advice = did_you_mean(moment.mode, self.modes) or f"modes are {', '.join(self.modes)}"
            # Not a default: a misspelt mode that sampled would train a policy where none should learn.
            raise InvalidConfig(f"there is no mode {quoted(moment.mode)}", place="mode", advice=advice)
        self._moment = moment
        return self.relaxation.scalars(moment)

    def needs_total(self, mode: str) -> bool:
        """Return whether anything in a mode depends on how many steps there will be.

        A method whose terms read ``moment.of`` or ``moment.done`` overrides it.
        """
        return self.modes[mode].needs_total

    def allowed(self, group: str) -> Tensor:
        """Return which options of a group's choices exist, ``[n, K]`` of bool, on the model's device."""
        mask: Tensor = getattr(self, f"allowed{self._numbers[group]}")
        return mask

    def option_weights(self, group: str, *, purpose: str = "forward") -> Tensor:
        """Return the weights of the options that a group's choices have now, ``[n, K]``.

        Args:
            group: See :class:`~trunkline.supermodel.choice_groups.ChoiceGroup`; for units it is the task.
            purpose: What they are for; another one draws other noise.
        """
        return self.relaxation(self._draw(group, purpose))

    def probabilities(self) -> dict[str, Tensor]:
        """Return the learned distribution π by group, ``[n, K]``."""
        return {name: Soft()(self._draw(name)) for name in self.groups_of_choices}

    def option_probabilities(self) -> dict[str, dict[str, list[float]]]:
        """Return π by group and choice, rounded to what a picture can show; only options that exist are there."""
        found: dict[str, dict[str, list[float]]] = {}
        for name, p in self.probabilities().items():
            group = self.groups_of_choices[name]
            rows = p.detach().double().cpu().tolist()
            found[name] = {
                choice.label: [round(value, 4) for value, there in zip(row, allowed, strict=True) if there]
                for choice, row, allowed in zip(group.choices, rows, group.allowed, strict=True)
            }
        return found

    def log_likelihood(self, groups: Iterable[str] | None = None) -> Tensor:
        """Return Σ log π of the options that the coming passes take: what REINFORCE differentiates.

        Args:
            groups: Of which choices; all of them if absent. Without those that do not decide a loss, its
                gradient is less noisy.
        """
        total = torch.zeros(())
        for name in self.groups_of_choices if groups is None else groups:
            p = Soft()(self._draw(name))
            # log 0 of an option that does not exist, times its weight 0, would be NaN. And log π is all that is
            # differentiated: the draw itself has no gradient (DEN).
            log_pi = torch.log(p.clamp_min(1e-30))
            total = total + (log_pi * self.option_weights(name).detach()).sum()
        return total

    def set_policy(self, logits: Mapping[str, Tensor]) -> None:
        """Replace logits, by group, ``[n, K]``; of binary choices ``[n, 1]``. Other groups keep theirs."""
        with torch.no_grad():
            for name, content in logits.items():
                self.policies[self._numbers[name]].copy_(content)

    def picks(self) -> dict[ChoiceId, int]:
        """Return, for every choice, the option that has most weight now."""
        found: dict[ChoiceId, int] = {}
        for name, group in self.groups_of_choices.items():
            best = self.option_weights(name).argmax(dim=-1).tolist()
            found.update(zip(group.choices, best, strict=True))
        return found

    def _draw(self, group: str, purpose: str = "") -> Draw:
        logits = self.policies[self._numbers[group]]
        return Draw(logits, self.allowed(group), self._moment, self.seed, group, purpose)
