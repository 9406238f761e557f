"""Phases and their turns: what is moved on which samples, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trunkline.recipe.move import Count, Move, Name, NotNegative, Positive, RecipeData


class Part(RecipeData):
    """Which training samples a turn reads.

    Samples lie on a line from 0 to 1 in an order drawn from the run's seed; a part is a stretch of it. Two turns whose
    stretches do not overlap read disjoint samples.

    Attributes:
        share: Where the stretch begins and ends, as fractions of the data.
        remix: Whether the order is drawn again for every pass over the data (MTL-NAS), or once (all others).

    >>> policy, weights = Part(share=(0.0, 0.2)), Part(share=(0.2, 1.0))  # BMTAS: 20 % of the samples, and the others
    >>> policy.is_all, Part().is_all
    (False, True)
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
        """Whether the part is all of the data."""
        return self.share == (0.0, 1.0)


class Turn(RecipeData):
    """A stretch of a phase's cycle: which data moves which parameters, and how.

    Attributes:
        name: Unique in the phase; names its optimisers in checkpoints.
        steps: Consecutive steps per cycle.
        data: The samples it reads.
        moves: What it moves; all other parameters are held.
        terms: Weight of each term the model adds to the loss, such as ``{"regularization": 0.0005}``.
        joint: True: one backward of Σ_t w_t·L_t + Σ_k λ_k·term_k over all tasks, and one optimiser step (AutoMTL
            paper, Eq. 3). False: for each task in order, forward, backward of w_t·L_t + Σ_k λ_k·term_k, and an
            optimiser step. A term reaches only what the task uses then, and what has no gradient is moved by neither
            decay nor momentum (AutoMTL's release with a current torch; BMTAS's weights).
        statistics: ``update``: running statistics follow the batches, as in ordinary training. ``hold``: batches are
            normalised by their own statistics, but the running ones stay (BMTAS while the policy learns).
        fresh: Whether its optimisers forget their state at the beginning of every visit (BMTAS).
        mode: Mode of the model in its steps; the phase's if absent (DEN draws where it learns widths, and takes the
            likeliest where it learns weights).

    >>> Turn(name="policy", steps=20, data=Part(share=(0.0, 0.2)), moves=(Move(group="policy"),)).joint
    True
    """

    name: Name = "weights"
    steps: Count = 1
    data: Part = Part()
    moves: Annotated[tuple[Move, ...], Field(min_length=1)] = (Move(),)
    terms: dict[str, NotNegative] = Field(default_factory=dict)
    joint: bool = True
    statistics: Literal["update", "hold"] = "update"
    fresh: bool = False
    mode: Name | None = None

    @model_validator(mode="after")
    def _groups_are_apart(self) -> Self:
        # Two optimisers of one parameter would each take a whole step, and neither would know of the other's.
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
        mode: How a model with choices chooses.
        turn: Name of the turn; empty in an evaluation.
        step: Steps of the phase that are completed.
        of: Steps of the whole phase.
        cycle: Walks through all turns that are completed.
        within: Steps of this visit of the turn that are completed.

    >>> Moment("search", "sample", step=25, of=100).done
    0.25
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
        """The share of the phase that is completed, from 0 to 1.

        A model that reads it declares so (``needs_total``): its phase cannot be made longer later.
        """
        return min(1.0, self.step / self.of)


class Phase(RecipeData):
    """Some steps of training with one mode of the model.

    Attributes:
        name: Unique in a run; names checkpoints and log records.
        mode: Handed to the model before each step of a turn without one of its own: how a model with choices chooses;
            others ignore it.
        steps: Steps of all turns together.
        turns: What the phase walks through, again and again.
        loss_weights: Weights of the tasks' losses by name, in place of the run's own; what is not named keeps its own.
        resolution: Share of the images' height and width at which the phase reads and judges them; below 1 the model
            must have been made to run on such images (BMTAS searches on smaller ones than it trains on).
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

    >>> phase = Phase(steps=100, turns=(Turn(name="policy", steps=1), Turn(name="weights", steps=4)))
    >>> phase.cycle, phase.turn_steps("weights"), phase.rates(1)
    (5, 80, {'weights': 0.001})
    """

    name: Name = "train"
    mode: Name = "argmax"
    steps: Count
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)] = (Turn(),)
    loss_weights: dict[str, NotNegative] = Field(default_factory=dict)
    resolution: float = Field(1.0, gt=0, le=1)
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
        # Checkpoints hold the state of optimisers by the turn's name.
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
        return Moment(self.name, turn.mode or self.mode, turn.name, step, self.steps, step // self.cycle, within)

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
        same_data = {turn.name for turn in self.turns if turn.data == data}
        return self._steps_of(same_data, step)

    def rates(self, step: int) -> dict[str, float]:
        """Return the learning rate of every group that step ``step`` moves."""
        turn = self.turn_at(step)
        # Of the turn's own steps: counted over the phase, the rate of a policy that moves in 100 of 500 steps would
        # fall in jumps, each five times as far.
        own, total = self.turn_steps(turn.name, step), self.turn_steps(turn.name)
        return {move.group: move.lr(own, total) for move in turn.moves}

    @property
    def modes(self) -> tuple[str, ...]:
        """All modes that the model is in, in steps and evaluations, each once."""
        evaluated = () if self.eval_split is None else (self.eval_mode,)
        return tuple(dict.fromkeys([*(turn.mode or self.mode for turn in self.turns), *evaluated]))

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
        """Return the steps of some turns before a step, in closed form: a resumed run must not count from 0."""
        cycles, within = divmod(before, self.cycle)
        count, start = 0, 0
        for turn in self.turns:
            if turn.name in names:
                begun = min(max(within - start, 0), turn.steps)
                count += cycles * turn.steps + begun
            start += turn.steps
        return count
