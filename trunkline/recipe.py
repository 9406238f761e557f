"""How a model is trained, as data: methods write it, the trainer reads it, and nothing here computes on tensors.

A *phase* is a number of steps. It walks through its *turns* again and again: ``turns[0].steps`` steps of the first,
then ``turns[1].steps`` of the second, and so on. A turn reads a *part* of the training data and makes *moves*: each
moves a group of parameters with an optimiser of its own, whose state lives from one visit of the turn to the next.
AutoMTL's search is a phase of two turns, "policy" and "weights"; plain training has one turn with one move.

Everything that changes with time is a function of the *moment*, so a checkpoint needs to hold no schedule.

>>> phase = Phase(steps=10, turns=(Turn(name="policy", steps=1), Turn(name="weights", steps=4)))
>>> [phase.turn_at(step).name for step in (0, 1, 4, 5)]
['policy', 'weights', 'weights', 'policy']
>>> phase.moment(6)
Moment(phase='train', mode='argmax', turn='weights', step=6, of=10, cycle=1, within=0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
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


class Part(_Data):
    """Which training samples a turn reads.

    Samples lie on a line from 0 to 1 in an order drawn from the run's seed; a part is a stretch of it. Two turns whose
    stretches do not overlap read disjoint samples.

    Attributes:
        share: Where the stretch begins and ends.
        remix: Whether the order is drawn again for every pass over the data (MTL-NAS), or once (all others).
    """

    share: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(gt=0, le=1)]] = (0.0, 1.0)
    remix: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.share[0] >= self.share[1]:
            raise ValueError("a part begins before it ends, as in `share = [0.0, 0.2]`")
        return self

    @property
    def is_all(self) -> bool:
        """Whether it is all of the data."""
        return self.share == (0.0, 1.0)


class Move(_Data):
    """A group of parameters, and how gradients move it.

    Attributes:
        group: Of the model, such as ``policy`` or ``weights``; ``weights`` is all of ``weights.backbone``,
            ``weights.joins`` and ``weights.heads``.
        optimiser: How it moves.
        schedule: Learning rate over the turn's own steps: steps of other turns do not count.
        per_user: Whether a weight's learning rate is divided by the number of tasks that use it, so that what many
            share does not move many times as fast (BMTAS, Sec. 4; stated by its authors for their baselines too).
    """

    group: Name = "weights"
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    per_user: bool = False

    def lr(self, step: int, total: int) -> float:
        """Return the learning rate of the turn's own step ``step`` of ``total``."""
        return self.optimiser.lr * self.schedule.factor(step, total)


class Turn(_Data):
    """A stretch of a phase's cycle: which data moves which parameters, and how.

    Attributes:
        name: Unique in the phase; names its optimisers in checkpoints.
        steps: Consecutive steps per cycle.
        data: The samples it reads.
        moves: What it moves; all other parameters are held.
        terms: Weight of each term the model adds to the loss, such as ``{"regularization": 0.0005}``.
        joint: True: one backward of Σ_t w_t·L_t + Σ_k λ_k·term_k over all tasks, and one optimiser step (AutoMTL
            paper, Eq. 3). False: for each task in order, forward, backward of w_t·L_t + Σ_k λ_k·term_k, and an
            optimiser step; parameters that the task's loss does not reach have no gradient then, so neither decay
            nor momentum moves them (AutoMTL's release with a current torch; BMTAS's weights).
        statistics: ``update``: running statistics follow the batches, as in ordinary training. ``hold``: batches are
            normalised by their own statistics, but the running ones stay (BMTAS while the policy learns).
        fresh: Whether its optimisers forget their state at the beginning of every visit (BMTAS).
    """

    name: Name = "weights"
    steps: Count = 1
    data: Part = Part()
    moves: Annotated[tuple[Move, ...], Field(min_length=1)] = (Move(),)
    terms: dict[str, NotNegative] = Field(default_factory=dict)
    joint: bool = True
    statistics: Literal["update", "hold"] = "update"
    fresh: bool = False

    @model_validator(mode="after")
    def _groups_are_apart(self) -> Self:
        groups = [move.group for move in self.moves]
        for group in groups:
            inside = [other for other in groups if other == group or other.startswith(f"{group}.")]
            if len(inside) > 1:
                raise ValueError(f"two moves of one turn move the same parameters: {', '.join(inside)}")
        return self


@dataclass(frozen=True, slots=True)
class Moment:
    """All that a schedule can depend on.

    Attributes:
        phase: Name of the phase.
        mode: Of the model.
        turn: Name of the turn; empty in an evaluation.
        step: Steps of the phase that are completed.
        of: Steps of the whole phase.
        cycle: Walks through all turns that are completed.
        within: Steps of this visit of the turn that are completed.
    """

    phase: str
    mode: str
    turn: str = ""
    step: int = 0
    of: int = 1
    cycle: int = 0
    within: int = 0

    @property
    def done(self) -> float:
        """The share of the phase that is completed, from 0 to 1."""
        return min(1.0, self.step / self.of)


class Phase(_Data):
    """Some steps of training with one mode of the model.

    Attributes:
        name: Unique in a run; names checkpoints and log records.
        mode: Handed to the model before each step: how a model with choices chooses; others ignore it.
        steps: Steps of all turns together.
        turns: The cycle.
        loss_weights: Weights of the tasks' losses by name, in place of the run's own; what is not named keeps its own.
        reset_statistics: Whether running statistics start from mean 0 and variance 1 when the phase starts.
        clip_norm: Greatest L2 norm of the gradient of what a turn moves, in each component of the model by itself;
            None for no clipping.
        log_every: Steps between two log records.
        eval_every: Steps between two evaluations; None for one at the end.
        eval_split: Split to evaluate on; None for never.
        eval_mode: Mode of the model in evaluations.
        checkpoint_every: Steps between two checkpoints.
        keep: Newest checkpoints of the phase to keep; each component's best is kept besides.
        best_by: What the best checkpoint of a component is best in: ``TASK.METRIC``, or ``relative`` for the mean
            relative performance; see :class:`~trunkline.train.loop.evaluate.BestMetric`. None for no best checkpoint.
    """

    name: Name = "train"
    mode: Name = "argmax"
    steps: Count
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)] = (Turn(),)
    loss_weights: dict[str, NotNegative] = Field(default_factory=dict)
    reset_statistics: bool = False
    clip_norm: Positive | None = None
    log_every: Count = 10
    eval_every: Count | None = None
    eval_split: Name | None = "val"
    eval_mode: Name = "argmax"
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

    def moment(self, step: int) -> Moment:
        """Return where step ``step`` (from 0) stands."""
        turn, within = self._visit(step)
        return Moment(self.name, self.mode, turn.name, step, self.steps, step // self.cycle, within)

    def evaluation(self, step: int) -> Moment:
        """Return the moment of an evaluation after ``step`` steps."""
        return Moment(self.name, self.eval_mode, "", step, self.steps, step // self.cycle)

    def turn_at(self, step: int) -> Turn:
        """Return the turn that step ``step`` (from 0) belongs to."""
        return self._visit(step)[0]

    def turn_steps(self, name: str, before: int | None = None) -> int:
        """Return how many steps of turn ``name`` come before step ``before`` (default: in the whole phase)."""
        return self._steps_of({name}, self.steps if before is None else before)

    def position(self, step: int) -> int:
        """Return the number of the batch that step ``step`` reads from its part of the data.

        Turns that read the same part share one sequence of batches, so none is read twice.
        """
        data = self.turn_at(step).data
        return self._steps_of({turn.name for turn in self.turns if turn.data == data}, step)

    def rates(self, step: int) -> dict[str, float]:
        """Return the learning rate of every group that step ``step`` moves."""
        turn = self.turn_at(step)
        own, total = self.turn_steps(turn.name, step), self.turn_steps(turn.name)
        return {move.group: move.lr(own, total) for move in turn.moves}

    @property
    def needs_total(self) -> bool:
        """Whether a learning rate depends on how many steps there will be."""
        return any(move.schedule.needs_total for turn in self.turns for move in turn.moves)

    def _visit(self, step: int) -> tuple[Turn, int]:
        within = step % self.cycle
        for turn in self.turns:
            if within < turn.steps:
                return turn, within
            within -= turn.steps
        raise AssertionError("unreachable: a step within the cycle belongs to a turn")

    def _steps_of(self, names: set[str], before: int) -> int:
        cycles, within = divmod(before, self.cycle)
        count, start = 0, 0
        for turn in self.turns:
            if turn.name in names:
                count += cycles * turn.steps + min(max(within - start, 0), turn.steps)
            start += turn.steps
        return count
