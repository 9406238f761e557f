"""From logits to the option weights that a forward pass uses: relaxations of a choice, by name.

Every relaxation is exact where a choice is one-hot. It takes the logits of a group of choices, ``[n, K]``, and returns
the weights of their options, ``[n, K]``, each row adding up to 1. Options that do not exist get 0.

A group of *binary* choices (a read of a join that is on or off) has one logit each, ``[n, 1]``, and weights of "off"
and "on", ``[n, 2]``.

>>> logits, allowed = torch.tensor([[0.0, 2.0, 4.0]]), torch.tensor([[True, True, False]])
>>> draw = Draw(logits, allowed, Moment("search", "sample"), seed=0, group="depth", purpose="forward")
>>> Average()(draw)
tensor([[0.5000, 0.5000, 0.0000]])
>>> Soft()(draw)
tensor([[0.1192, 0.8808, 0.0000]])
>>> Argmax()(draw)
tensor([[0., 1., 0.]])
>>> OneHot({"depth": 0})(draw)
tensor([[1., 0., 0.]])
>>> bool(torch.equal(Gumbel()(draw), Gumbel()(draw)))
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from trunkline.recipe import Moment
from trunkline.seeds import seed_of
from trunkline.supermodel.temperature import Decay, Temperature

OFF, ON = 0, 1


@dataclass(frozen=True, slots=True)
class Draw:
    """What a relaxation is given.

    Attributes:
        logits: Unnormalised log π, ``[n, K]``; of binary choices ``[n, 1]``.
        allowed: Which options exist, ``[n, K]`` of bool; of binary choices ``[n, 2]``.
        moment: Where the training stands.
        seed: Of the run.
        group: Name of the group of choices.
        purpose: What the weights are for; equal purposes of one group draw equal noise. Empty where none is drawn.
    """

    logits: Tensor
    allowed: Tensor
    moment: Moment
    seed: int
    group: str
    purpose: str = ""

    @property
    def binary(self) -> bool:
        """Whether each choice is on or off, with one logit."""
        return self.logits.shape[-1] == 1 and self.allowed.shape[-1] == 2

    def stream(self, kind: str) -> str:
        """Return the name of its random stream of a kind, such as ``gumbel``."""
        # With the phase, whose steps begin at 0 again: phases of one kind, one after the other, would repeat one noise.
        return f"{kind}/{self.moment.phase}/{self.purpose}/{self.group}"


class Relaxation(Protocol):
    """Turns logits into the weights of options; a supermodel has one for each of its modes."""

    @property
    def hard(self) -> bool:
        """Whether every choice is one option, the same for the whole forward pass, and no gradient reaches logits."""

    @property
    def needs_total(self) -> bool:
        """Whether it depends on how many steps there will be: on ``moment.of`` or ``moment.done``."""

    def __call__(self, draw: Draw) -> Tensor:
        """Return the weights of the options, ``[n, K]``."""

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return numbers worth logging."""


class _Unlogged:
    """A relaxation without numbers worth logging; a soft one unless its class sets another."""

    hard = False
    needs_total = False

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return none."""
        return {}


class Average(_Unlogged):
    """Equal weights for all options that exist: AutoMTL's pre-training."""

    def __call__(self, draw: Draw) -> Tensor:
        """Return 1 / (number of options that exist) for each of them."""
        weights = draw.allowed.to(draw.logits.dtype)
        return weights / weights.sum(dim=-1, keepdim=True)


class Soft(_Unlogged):
    """The learned distribution π = softmax(logits), or the sigmoid of a binary choice's logit (MTL-NAS)."""

    def __call__(self, draw: Draw) -> Tensor:
        """Return π."""
        return torch.softmax(_masked(draw), dim=-1)


class Argmax(_Unlogged):
    """The most likely option; ties go to the lowest number, that is, to sharing, or to "off"."""

    hard = True

    def __call__(self, draw: Draw) -> Tensor:
        """Return 1 for the most likely option."""
        return one_hot(_masked(draw).argmax(dim=-1), draw.allowed.shape[-1]).to(draw.logits.dtype)


@dataclass(frozen=True)
class OneHot(_Unlogged):
    """Fixed options, whatever the logits say: a warm-up.

    Attributes:
        picks: By group, the option of all its choices.
    """

    hard = True
    picks: Mapping[str, int]

    def __call__(self, draw: Draw) -> Tensor:
        """Return 1 for the fixed option."""
        picked = torch.full(draw.allowed.shape[:-1], self.picks[draw.group], device=draw.logits.device)
        return one_hot(picked, draw.allowed.shape[-1]).to(draw.logits.dtype)


@dataclass(frozen=True, slots=True)
class Gumbel:
    """Softmax((G + log π) / τ) with fresh Gumbel noise G in every step (AutoMTL, Sec. 3.2, Eq. 1; BMTAS, Eq. 2).

    Of a binary choice it is the relaxed Bernoulli (MTL-NAS): the difference of two Gumbel draws is logistic.

    Attributes:
        temperature: τ, which may fall with the moment; the lower, the nearer to one-hot.
        straight_through: Give the one-hot sample forward and the soft gradient backward (Learn-to-Branch).
    """

    temperature: Temperature = field(default_factory=Decay)
    straight_through: bool = False

    @property
    def hard(self) -> bool:
        """Never: even a one-hot sample has the gradient of the soft one."""
        return False

    @property
    def needs_total(self) -> bool:
        """Where the temperature does."""
        return self.temperature.needs_total

    def __call__(self, draw: Draw) -> Tensor:
        """Return this step's sample."""
        noise = _noise(draw)
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
    """One option is drawn from π, and no gradient flows through it: REINFORCE (DEN).

    The gradient comes from a loss term, reward · ∇ log π(drawn): see
    :meth:`~trunkline.supermodel.choice_model.ChoiceModel.log_likelihood`.

    Attributes:
        explore: Share of draws from the uniform distribution instead of π (ε-greedy). A draw is of a group of choices,
            such as a task's at all blocks: either all of them explore, or none.
        decays: Whether that share is ``explore ** step`` instead, as in DEN's release with 0.99; of the steps of this
            visit of the turn, so that every visit explores anew.

    >>> ScoreFunction(explore=0.5, decays=True).scalars(Moment("search", "draw", step=12, within=2))
    {'explore': 0.25}
    """

    explore: float = 0.0
    decays: bool = False

    @property
    def hard(self) -> bool:
        """Always: a pass runs what was drawn."""
        return True

    @property
    def needs_total(self) -> bool:
        """Never: the share that explores follows the steps that are done."""
        return False

    def __call__(self, draw: Draw) -> Tensor:
        """Return 1 for the option that is drawn."""
        log_pi = torch.log_softmax(_masked(draw), dim=-1).detach()
        # log 1 = 0 and log 0 = -inf. It need not add up to 1: a constant moves no argmax.
        uniform = torch.log(draw.allowed.to(log_pi.dtype))
        # A stream of its own: whether a draw explores does not move what is drawn.
        generator = _generator(draw.stream("explore"), draw.moment.step, draw.seed)
        coin = float(torch.rand((), generator=generator, dtype=torch.float64))
        drawn_from = uniform if coin < self._share(draw.moment) else log_pi
        # Gumbel-max: argmax(G + log π) is a draw from π, so a draw repeats with the seed as the relaxations do.
        drawn = (_noise(draw).to(drawn_from) + drawn_from).argmax(dim=-1)
        return one_hot(drawn, log_pi.shape[-1]).to(log_pi.dtype)

    def scalars(self, moment: Moment) -> Mapping[str, float]:
        """Return the share of draws that explore."""
        return {"explore": self._share(moment)}

    def _share(self, moment: Moment) -> float:
        # 0 to the power of 0 is 1, but who wants no exploration wants none in the first step either.
        return self.explore**moment.within if self.decays and self.explore else self.explore


def gumbel_noise(shape: tuple[int, ...], *, seed: int, step: int, stream_name: str) -> Tensor:
    """Return standard Gumbel noise, a pure function of its arguments, so that a resumed run repeats it."""
    # On the CPU and in float64 whatever the model's device and type are, so that the noise is the same on all of them.
    generator = _generator(stream_name, step, seed)
    # torch.rand may return 0, of which the noise would be -log(inf); in float32 it would be one draw in 2^24.
    smallest = torch.finfo(torch.float64).tiny
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64).clamp_(smallest, 1 - 1e-16)
    return -torch.log(-torch.log(uniform))


def one_hot(picked: Tensor, options: int) -> Tensor:
    """Return picks ``[n]`` as rows with a single 1, ``[n, K]``."""
    return torch.nn.functional.one_hot(picked, options)


def _noise(draw: Draw) -> Tensor:
    step, stream_name = draw.moment.step, draw.stream("gumbel")
    return gumbel_noise(tuple(draw.allowed.shape), seed=draw.seed, step=step, stream_name=stream_name)


def _masked(draw: Draw) -> Tensor:
    """Return logits ``[n, K]`` with options that do not exist at minus infinity; "off" of a binary choice is 0."""
    logits = draw.logits
    if draw.binary:
        # softmax over (0, x) is (1 - sigmoid(x), sigmoid(x)): with it, binary choices need no code of their own.
        logits = torch.cat([torch.zeros_like(logits), logits], dim=-1)
    return logits.masked_fill(~draw.allowed, float("-inf"))


def _generator(stream_name: str, step: int, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(f"{stream_name}/{step}", seed) % 2**63)
