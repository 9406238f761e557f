"""From logits to the option weights that a forward pass uses: relaxations of a choice, by name.

Every relaxation is exact where a choice is one-hot. It takes the logits of a group of choices, ``[n, K]``, and returns
the weights of their options, ``[n, K]``, each row adding up to 1. Options that do not exist get 0.

A group of *binary* choices (a read of a join that is on or off) has one logit each, ``[n, 1]``, and weights of "off"
and "on", ``[n, 2]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trunkline.recipe import Moment
from trunkline.seeds import seed_of

OFF, ON = 0, 1


@dataclass(frozen=True, slots=True)
class Draw:
    """What a relaxation is given.

    Attributes:
        logits: Unnormalised log π, ``[n, K]``; of binary choices ``[n, 1]``.
        allowed: Which options exist, ``[n, K]`` of bool; of binary choices ``[n, 2]``.
        moment: Where the training stands.
        seed: Of the run.
        stream: Names the group and the purpose: equal streams draw equal noise.
    """

    logits: Tensor
    allowed: Tensor
    moment: Moment
    seed: int
    stream: str

    @property
    def binary(self) -> bool:
        """Whether each choice is on or off, with one logit."""
        return self.logits.shape[-1] == 1 and self.allowed.shape[-1] == 2

    @property
    def name(self) -> str:
        """What the noise is drawn as."""
        return f"gumbel/{self.stream}"


class Relaxation(Protocol):
    """A way to choose."""

    @property
    def hard(self) -> bool:
        """Whether every choice is one option, the same for the whole forward pass, and no gradient reaches logits."""

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights of the options, ``[n, K]``."""

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return numbers worth logging."""


@dataclass(frozen=True, slots=True)
class Decay:
    """A temperature that falls in steps: ``start · decay^(step // every)``, floored.

    AutoMTL's release decays 5 by 0.965 every hundred policy steps; with 100 policy steps in 500 that is ``every=500``.
    The paper gives no schedule.
    """

    start: float = 5.0
    decay: float = 0.965
    every: int = 500
    floor: float = 1e-6

    def at(self, moment: Moment) -> float:
        """Return the temperature."""
        return max(self.floor, self.start * self.decay ** (moment.step // self.every))


@dataclass(frozen=True, slots=True)
class Linear:
    """A temperature that goes from ``start`` to ``end`` with the phase (BMTAS: 5.0 to 0.1)."""

    start: float = 5.0
    end: float = 0.1

    def at(self, moment: Moment) -> float:
        """Return the temperature."""
        return self.start + (self.end - self.start) * moment.done


Temperature = Decay | Linear


class _Plain:
    hard = False

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return nothing."""
        return {}


class Average(_Plain):
    """Equal weights for all options that exist: AutoMTL's pre-training."""

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights."""
        weights = draw.allowed.to(draw.logits.dtype)
        return weights / weights.sum(dim=-1, keepdim=True)


class Soft(_Plain):
    """The learned distribution π = softmax(logits), or the sigmoid of a binary choice's logit (MTL-NAS, Eq. 5)."""

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights."""
        return torch.softmax(_masked(draw), dim=-1)


class Argmax(_Plain):
    """The most likely option; ties go to the lowest number, that is, to sharing, or to "off"."""

    hard = True

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights."""
        return one_hot(_masked(draw).argmax(dim=-1), draw.allowed.shape[-1]).to(draw.logits.dtype)


@dataclass(frozen=True, slots=True)
class OneHot:
    """Fixed options, whatever the logits say: a warm-up.

    Attributes:
        picks: By group (the part of the stream before ``/``), the option of all its choices.
    """

    picks: Mapping[str, int]

    @property
    def hard(self) -> bool:
        """Always."""
        return True

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights."""
        group = draw.stream.rpartition("/")[2]
        picked = torch.full(draw.allowed.shape[:-1], self.picks[group], device=draw.logits.device)
        return one_hot(picked, draw.allowed.shape[-1]).to(draw.logits.dtype)

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class Gumbel:
    """Softmax((G + log π) / τ) with fresh Gumbel noise G in every step (AutoMTL, Sec. 3.2, Eq. 1; BMTAS, Eq. 3).

    Of a binary choice it is the relaxed Bernoulli (MTL-NAS, Eq. 6): the difference of two Gumbel draws is logistic.

    Attributes:
        temperature: τ.
        straight_through: Give the one-hot sample forward and the soft gradient backward (Learn-to-Branch).
    """

    temperature: Temperature = Decay()
    straight_through: bool = False

    @property
    def hard(self) -> bool:
        """Never: even a one-hot sample has the gradient of the soft one."""
        return False

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights."""
        noise = gumbel_noise(tuple(draw.allowed.shape), seed=draw.seed, step=draw.moment.step, stream_name=draw.name)
        log_pi = torch.log_softmax(_masked(draw), dim=-1)
        soft = torch.softmax((noise.to(log_pi) + log_pi) / self.temperature.at(draw.moment), dim=-1)
        if not self.straight_through:
            return soft
        hard = one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft.dtype)
        # In this order: the bracket is exactly 0, so what is not chosen has a weight of exactly 0.
        return hard + (soft - soft.detach())

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return the temperature."""
        return {"temperature": self.temperature.at(moment)}


@dataclass(frozen=True, slots=True)
class ScoreFunction:
    """One option is drawn from π, and no gradient flows through it: REINFORCE (DEN, Sec. 3.3).

    The gradient comes from a loss term, reward · ∇ log π(drawn): see
    :meth:`~trunkline.supermodel.choice_model.ChoiceModel.log_likelihood`.

    Attributes:
        explore: Share of draws from the uniform distribution instead of π (ε-greedy); a function of the step as
            ``explore ** (step + 1)`` where ``decays``.
        decays: See ``explore``.
    """

    explore: float = 0.0
    decays: bool = False

    @property
    def hard(self) -> bool:
        """Always: a pass runs what was drawn."""
        return True

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights."""
        noise = gumbel_noise(tuple(draw.allowed.shape), seed=draw.seed, step=draw.moment.step, stream_name=draw.name)
        log_pi = torch.log_softmax(_masked(draw), dim=-1).detach()
        uniform = torch.log(draw.allowed.to(log_pi.dtype))
        coin = torch.rand(log_pi.shape[:-1], generator=_generator(draw, "explore"), dtype=torch.float64)
        explored = (coin < self._share(draw.moment)).to(log_pi.device)
        drawn_from = torch.where(explored.unsqueeze(-1), uniform, log_pi)
        return one_hot((noise.to(drawn_from) + drawn_from).argmax(dim=-1), log_pi.shape[-1]).to(log_pi.dtype)

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return the share of draws that explore."""
        return {"explore": self._share(moment)}

    def _share(self, moment: Moment) -> float:
        return self.explore ** (moment.step + 1) if self.decays else self.explore


def gumbel_noise(shape: tuple[int, ...], *, seed: int, step: int, stream_name: str) -> Tensor:
    """Return standard Gumbel noise, a pure function of its arguments, so that a resumed run repeats it."""
    generator = torch.Generator().manual_seed(seed_of(f"{stream_name}/{step}", seed) % 2**63)
    smallest = torch.finfo(torch.float64).tiny
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64).clamp_(smallest, 1 - 1e-16)
    return -torch.log(-torch.log(uniform))


def one_hot(picked: Tensor, options: int) -> Tensor:
    """Return picks ``[n]`` as rows with a single 1, ``[n, K]``."""
    return torch.nn.functional.one_hot(picked, options)


def _masked(draw: Draw) -> Tensor:
    """Return logits ``[n, K]`` with options that do not exist at minus infinity; "off" of a binary choice is 0."""
    logits = draw.logits
    if draw.binary:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=-1)
    return logits.masked_fill(~draw.allowed, float("-inf"))


def _generator(draw: Draw, purpose: str) -> torch.Generator:
    name = f"{purpose}/{draw.stream}/{draw.moment.step}"
    return torch.Generator().manual_seed(seed_of(name, draw.seed) % 2**63)
