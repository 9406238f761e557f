"""What a training phase is: data only. The runner reads it; nothing here computes on tensors.

A phase is a number of steps. It walks through its turns again and again: ``turns[0].steps`` steps of the first,
then ``turns[1].steps`` of the second, and so on. A turn reads its own split of the data and moves its own group
of parameters with its own optimiser, whose state lives from one visit of the turn to the next. AutoMTL's search
is a phase of two turns, "policy" and "weights"; plain training has one.

Everything that changes with time is a function of the step, so a checkpoint needs to hold no schedule.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trunkline.errors import InvalidConfig, did_you_mean

Mode = Literal["average", "sample", "soft", "argmax"]
MODES: tuple[Mode, ...] = get_args(Mode)


def check_mode(mode: Mode) -> Mode:
    """Return ``mode``; a word that is none would otherwise choose in some way, and nobody would know which.

    Raises:
        InvalidConfig: There is no such mode.
    """
    if mode not in MODES:
        advice = did_you_mean(str(mode), MODES) or f"modes are {', '.join(MODES)}"
        raise InvalidConfig(f"there is no mode {mode!r}", place="mode", advice=advice)
    return mode


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
KnownMode = Annotated[Mode, BeforeValidator(check_mode)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)]
"""Far above anything sensible, and far enough below float32's end that no product of two overflows by itself."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimiser(_Data):
    """How gradients move parameters.

    Attributes:
        kind: ``adam`` (with L2 decay inside the gradient, as in the papers) or ``sgd``.
        lr: Learning rate before the schedule.
        betas: Adam only.
        momentum: SGD only.
        weight_decay: L2 decay of every parameter in the group that has a gradient.
    """

    kind: Literal["adam", "sgd"] = "adam"
    lr: Positive = 1e-3
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 0.0


class Schedule(_Data):
    """The factor on the learning rate, as a pure function of the step.

    Attributes:
        kind: ``constant``; ``step``: times ``gamma`` after every ``size`` steps; ``poly``:
            ``(1 - step / total) ** power``; ``cosine``: half a cosine from 1 to 0.
        size: Steps between two decays; needed by, and only read by, ``step``.
        gamma: Factor of one decay of ``step``.
        power: Exponent of ``poly``.
        floor: The factor never falls below this.
    """

    kind: Literal["constant", "step", "poly", "cosine"] = "constant"
    size: Count | None = None
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.5
    power: Positive = 0.9
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _size_where_needed(self) -> Self:
        if self.kind == "step" and self.size is None:
            raise ValueError('a "step" schedule needs `size`, the steps between two decays')
        return self

    @property
    def needs_total(self) -> bool:
        """Whether the factor depends on how many steps there will be."""
        return self.kind in ("poly", "cosine")

    def factor(self, step: int, total: int) -> float:
        """Return the factor at ``step`` (from 0) of ``total``."""
        done = min(step / total, 1.0)
        factor = 1.0
        if self.kind == "step" and self.size is not None:
            factor = self.gamma ** (step // self.size)
        elif self.kind == "poly":
            factor = (1.0 - done) ** self.power
        elif self.kind == "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * done))
        return max(factor, self.floor)


class Turn(_Data):
    """A part of a phase's cycle: which data moves which parameters, and how.

    Attributes:
        name: Unique in the phase; names the optimiser in checkpoints.
        steps: Consecutive steps per cycle.
        split: Part of the training data to read, such as ``train``, ``train1`` or ``train2``.
        group: Parameter group of the model to move; all other parameters are held.
        optimiser: How they move.
        schedule: Learning rate over this turn's own steps: steps of other turns do not count.
        terms: Weight of each term the model adds to the loss, such as ``{"regularization": 0.0005}``.
    """

    name: Name = "weights"
    steps: Count = 1
    split: Name = "train"
    group: Name = "weights"
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    terms: dict[str, NotNegative] = Field(default_factory=dict)

    def lr(self, step: int, total: int) -> float:
        """Return the learning rate of the turn's own step ``step`` of ``total``."""
        return self.optimiser.lr * self.schedule.factor(step, total)


class Phase(_Data):
    """Some steps of training with one mode of the model.

    Attributes:
        name: Unique in a run; names checkpoints and log records.
        mode: Handed to the model before each step: how a supermodel chooses; models without choices ignore it.
        steps: Steps of all turns together.
        turns: The cycle.
        joint: True: one backward of Σ_t w_t·L_t + Σ_k λ_k·term_k over all tasks, and one optimiser step (AutoMTL
            paper, Eq. 3). False: for each task in order, forward, backward of w_t·L_t + Σ_k λ_k·term_k, and an
            optimiser step; parameters that the task's loss does not reach have no gradient then, so neither decay
            nor momentum moves them (AutoMTL's release with a current torch).
        clip_norm: Greatest L2 norm of the gradient of the turn's group, in each component of the model by itself; None
            for no clipping.
        log_every: Steps between two log records.
        eval_every: Steps between two evaluations; None for one at the end.
        eval_split: Split to evaluate on; None for never.
        eval_mode: Mode of the model in evaluations.
        checkpoint_every: Steps between two checkpoints.
        keep: Newest checkpoints of the phase to keep; each component's best is kept besides.
        best_by: What the best checkpoint of a component is best in: ``TASK.METRIC``, or ``relative`` for the mean
            relative performance; see :class:`~trunkline.train.loop.evaluate.Judge`. None for no best checkpoint.
    """

    name: Name = "train"
    mode: KnownMode = "argmax"
    steps: Count
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)] = (Turn(),)
    joint: bool = True
    clip_norm: Positive | None = None
    log_every: Count = 10
    eval_every: Count | None = None
    eval_split: Name | None = "val"
    eval_mode: KnownMode = "argmax"
    checkpoint_every: Count = 500
    keep: Count = 2
    best_by: str | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [turn.name for turn in self.turns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"turns must have different names; used twice: {', '.join(twice)}")
        return self

    @property
    def cycle(self) -> int:
        """Steps of one walk through all turns."""
        return sum(turn.steps for turn in self.turns)

    def turn_at(self, step: int) -> Turn:
        """Return the turn that step ``step`` (from 0) belongs to."""
        within = step % self.cycle
        for turn in self.turns:
            if within < turn.steps:
                return turn
            within -= turn.steps
        raise AssertionError("unreachable: a step within the cycle belongs to a turn")

    def turn_steps(self, name: str, before: int | None = None) -> int:
        """Return how many steps of turn ``name`` come before step ``before`` (default: in the whole phase)."""
        return self._steps_of({name}, self.steps if before is None else before)

    def position(self, step: int) -> int:
        """Return the number of the batch that step ``step`` reads from its split.

        Turns that read the same split share one sequence of batches, so none is read twice.
        """
        split = self.turn_at(step).split
        return self._steps_of({turn.name for turn in self.turns if turn.split == split}, step)

    def lr(self, step: int) -> float:
        """Return the learning rate of step ``step``."""
        turn = self.turn_at(step)
        return turn.lr(self.turn_steps(turn.name, step), self.turn_steps(turn.name))

    def _steps_of(self, names: set[str], before: int) -> int:
        cycles, within = divmod(before, self.cycle)
        count, start = 0, 0
        for turn in self.turns:
            if turn.name in names:
                count += cycles * turn.steps + min(max(within - start, 0), turn.steps)
            start += turn.steps
        return count
