"""Deep Elastic Networks (DEN, Ahn et al. 2019): every task runs as many leading channels of each block as it needs.

All tasks have one set of weights. A block that narrows has an inner map, between its two convolutions; a task computes
the first channels of it, a share that is learned: all, a half, a quarter, or none, so that only the shortcut is left.
Fewer channels are fewer computations: both convolutions are cut, and what is lowered holds no other number.

1. *Estimator*: weights learn the widths. In three of four steps every task runs everything, in the others each block's
   width is drawn, every one as likely.
2. *Search*, in stages: first the selector learns, by trying widths out; then the weights, with the likeliest ones.
3. The likeliest widths are the plan. Training it, from the weights of the search, is the last stage.

The selector draws a width v_l for every block of a task and is told how good they were (REINFORCE). With the mean
over blocks u_t of the share of a block's channels that the task uses, its loss L_t, and ℓ_t, what that is of late:

    term = −Σ_t R_t · Σ_l log π_t,l(v_l),      R_t = (1 − u_t²)/ρ + 1 − L_t/ℓ_t

The release has L_t in place of L_t/ℓ_t: there are only classifiers in it, whose losses are of one size. With
``selector = "gumbel"`` widths are samples that pass a gradient on instead, and Σ_t w_t·L_t − Σ_t (1 − E[u_t]²)/ρ falls.

Departures: the release chooses widths anew for every image. That is no network that can be cut, exported or counted, so
here a task has one choice for all images: free logits take the place of the selector's network. The paper was not at
hand: what is said of it was read in the release.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.recipe import Count, Move, Optimiser, Part, Phase, Positive, Schedule, Turn
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.sharing.units import Unit
from trunkline.supermodel.choice_model import LossTerm
from trunkline.supermodel.choices import Gumbel, Relaxation, ScoreFunction
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.searched import SearchedMethod, SearchedModel, SearchedOptions, after_warm_up
from trunkline.supermodel.random_steps import RandomSteps
from trunkline.supermodel.temperature import Decay
from trunkline.supermodel.work import Found, Work
from trunkline.text import quoted

REWARD, USAGE = "reward", "usage"
"""Names of the selector's terms: of draws, and of samples that pass a gradient on."""
_RELEASE_SELECTOR_STEPS = 4_693
"""In each stage of the release."""
_FORGETTING = 0.9
"""What the average of a task's loss keeps of itself at every step: ours, about the last ten steps."""


class DENOptions(SearchedOptions):
    """What can be set about DEN.

    >>> DENOptions(widths=(0.25, 0.5)).widths
    (0.5, 0.25)
    """

    widths: tuple[float, ...] = Field(
        (0.5, 0.25), description="shares of a block's inner channels that a task may run, beside all of them"
    )
    skip: bool = Field(True, description="whether none of them is an option: the block's shortcut alone")
    warm_up: int = Field(500, ge=0, description="steps in which weights learn all widths; 0 leaves it out")
    random_share: float = Field(0.25, ge=0, le=1, description="share of these steps in which widths are drawn")
    steps: Count = Field(1_200, description="steps of the search, of selector and weights together")
    alternate: tuple[Count, Count] = Field((30, 100), description="steps of the selector, then of the weights, a stage")
    policy_fraction: float | None = Field(
        None, gt=0, lt=1, description="share of the data that trains the selector alone; all data trains both if absent"
    )
    selector: Literal["score", "gumbel"] = Field(
        "score", description="how widths are learned: score (draws and rewards, theirs), or gumbel (gradients)"
    )
    rho: Positive = Field(10.0, description="ρ: the larger, the less a reward counts how few channels are used")
    reward: Literal["relative", "release"] = Field(
        "relative", description="the loss in a reward: as a share of the task's late average, or as it is"
    )
    explore: float | None = Field(
        None,
        ge=0,
        le=1,
        description="ε: step n (from 0) of a stage draws evenly with ε^n; if absent, 0.99 of 4,693 steps",
    )
    temperature: Positive = Field(1.0, description="τ of the samples of gumbel")
    joint: bool = Field(True, description="one step on the summed loss; false: one step a task, as theirs")
    weight_optimiser: Optimiser = Field(Optimiser(), description="of the weights")
    weight_schedule: Schedule = Field(Schedule(), description="of the weights' rate in the warm-up")
    stage_schedule: Schedule | None = Field(
        None, description="of the weights' rate over all stages, from the start again; as in the warm-up if absent"
    )
    policy_optimiser: Optimiser = Field(Optimiser(lr=1e-2), description="of the selector's logits")

    @field_validator("widths")
    @classmethod
    def _wide_first(cls, widths: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < width < 1 for width in widths):
            raise ValueError("a width is a share between 0 and 1, as in `widths = [0.5, 0.25]`; all and none are apart")
        return tuple(sorted(set(widths), reverse=True))


class DENModel(SearchedModel):
    """The supermodel with the selector's loss terms."""

    def __init__(
        self, space: Space, heads: Mapping[str, Graph], options: DENOptions, modes: Mapping[str, Relaxation], seed: int
    ) -> None:
        super().__init__(space, heads, options, modes, seed=seed)
        self.options = options
        self.register_buffer("late_losses", torch.zeros(len(space.tasks)))
        shares = channel_shares(space)
        for number, group in enumerate(self.groups_of_choices.values()):
            rows = torch.zeros(len(group.choices), group.options)
            for row, choice in enumerate(group.choices):
                rows[row, : len(shares[choice])] = torch.tensor(shares[choice])
            self.register_buffer(f"channels{number}", rows, persistent=False)

    late_losses: Tensor
    """ℓ by task; 0 where no step has been made yet."""

    def loss_terms(self) -> Mapping[str, LossTerm]:
        """Return what makes each term, see the module's text."""
        return {**super().loss_terms(), REWARD: self.rewarded, USAGE: self.usage}

    def rewarded(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return −Σ_t R_t · log π_t(drawn) over the tasks that have a loss."""
        total = torch.zeros(())
        for task in self._selecting(losses):
            used = (self.option_weights(task) * self._channels(task)).sum().detach()
            reward = (1 - used**2) / self.options.rho + 1 - self._judged(task, losses[task].detach())
            # A task's loss depends on no choice but its own, so no other's noise is in its gradient.
            total = total - reward * self.log_likelihood([task])
        return total

    def usage(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return −Σ_t (1 − E[u_t]²)/ρ over the tasks that have a loss."""
        total = torch.zeros(())
        probabilities = self.probabilities()
        for task in self._selecting(losses):
            used = (probabilities[task] * self._channels(task)).sum()
            total = total - (1 - used**2) / self.options.rho
        return total

    def _selecting(self, losses: Mapping[str, Tensor]) -> Iterator[str]:
        """Yield the tasks that have a loss, and something to choose."""
        return (task for task in self.groups_of_choices if task in losses)

    def _channels(self, task: str) -> Tensor:
        """Return what share of all channels each option uses, ``[n, K]``."""
        shares: Tensor = getattr(self, f"channels{self._numbers[task]}")
        return shares

    def _judged(self, task: str, loss: Tensor) -> Tensor:
        """Return the loss as a reward counts it."""
        if self.options.reward == "release":
            return loss
        number = self.tasks.index(task)
        late = self.late_losses[number].clone()
        late = torch.where(late > 0, late, loss)
        # Where a term is only tried out, without gradients, there was no step, and the loss is no loss.
        if torch.is_grad_enabled():
            self.late_losses[number] = _FORGETTING * late + (1 - _FORGETTING) * loss
        return loss / late.clamp_min(torch.finfo(late.dtype).tiny)


class DEN(SearchedMethod[DENOptions]):
    """The search of DEN; see the module's text."""

    name = "den"
    units = "blocks"
    needs = "a search over the widths of one set of weights; training goes on from it"
    decides = "for each block and task: how many of its inner channels run, or none"
    yields = "one set of weights, of which each task runs leading channels"
    source = "Ahn, Kim, Oh: Deep Elastic Networks with Model Selection for Multi-Task Learning (ICCV 2019)"
    trains_on = True
    Options = DENOptions

    def __init__(self, setup: Setup, options: DENOptions) -> None:
        super().__init__(setup, options)
        # Tied: narrow and wide tasks train one set of weights, whatever came before a block in their columns.
        self.space = Space.over(setup.backbone, setup.tasks, "block", self._options_of, tie=True)
        if not self.space.choices:
            text = f"no block of {quoted(setup.backbone.name)} has a map between two convolutions, or can be skipped"
            advice = "take a residual backbone, or another method; `inspect` lists the blocks"
            raise InvalidConfig(text, place="search.method", advice=advice)
        modes: dict[str, Relaxation] = {"random": RandomSteps(options.random_share), "select": self._selecting()}
        self.model = DENModel(self.space, setup.heads, options, modes, setup.seed)
        self.option_names = ("all", *(f"{width:g}" for width in options.widths), *(["none"] if options.skip else []))

    def phases(self) -> Sequence[Phase]:
        """Return the estimator's training, and the stages of selector and weights."""
        return after_warm_up(self.options.warm_up, self._warm_up, self._stages())

    def find(self, work: Work) -> Found:
        """Search, and take a plan that goes on from the weights of the search."""
        found = super().find(work)
        return Found(found.plan, found.start, goes_on=True, policy=found.policy, steps=found.steps)

    def column(self, unit: str, task: str, number: int) -> int:
        """Return which of ``option_names`` an option is: by its width, for many blocks lack some."""
        option = self.space.entries[unit][task][number]
        if option.skip:
            return len(self.option_names) - 1
        if option.channels == 1.0:
            return 0
        # The first that rounds to its number of channels stands for all that do.
        units = self.space.table.units
        span = self.setup.backbone.span(units[self.space.table.number(unit)])
        assert span is not None
        wanted = span.width(option.channels)
        return 1 + next(i for i, width in enumerate(self.options.widths) if span.width(width) == wanted)

    def _options_of(self, unit: Unit, task: int) -> list[Option]:
        views = [Option(channels=width) for width in self.options.widths]
        # The stem always runs, so no task is left without anything.
        skips = [Option(skip=True)] if self.options.skip and unit.depth > 1 else []
        return [Option(0), *views, *skips]

    def _selecting(self) -> Relaxation:
        options = self.options
        if options.selector == "gumbel":
            # One-hot: a task runs one width at a time, as it will.
            return Gumbel(Decay(start=options.temperature, decay=1.0), straight_through=True)
        if options.explore is not None:
            return ScoreFunction(options.explore, decays=True)
        # As much of a stage explores as in the release, whatever its length.
        return ScoreFunction(0.99 ** (_RELEASE_SELECTOR_STEPS / options.alternate[0]), decays=True)

    def _warm_up(self) -> Phase:
        turn = Turn(moves=(self._weights_move(self.options.weight_schedule),), joint=self.options.joint)
        return self.setup.search_phase("estimator", "random", self.options.warm_up, [turn])

    def _stages(self) -> Phase:
        options, cut = self.options, self.options.policy_fraction
        selector_steps, weight_steps = options.alternate
        learned = REWARD if options.selector == "score" else USAGE
        selector = Turn(
            name="policy",
            mode="select",
            steps=selector_steps,
            data=Part() if cut is None else Part(share=(0.0, cut)),
            moves=(Move(group="policy", optimiser=options.policy_optimiser),),
            terms={learned: 1.0, **self.options.cost_terms},
            joint=options.joint,
            # Widths that are tried out leave no mark on the network.
            statistics="hold",
        )
        weights = Turn(
            name="weights",
            steps=weight_steps,
            data=Part() if cut is None else Part(share=(cut, 1.0)),
            moves=(self._weights_move(options.stage_schedule or options.weight_schedule),),
            joint=options.joint,
        )
        # One phase, not one for each stage: a phase reads its samples from the first one on.
        turns, loss_weights = [selector, weights], self.setup.by_task(options.loss_weights)
        return self.setup.search_phase("search", "argmax", options.steps, turns, loss_weights=loss_weights)

    def _weights_move(self, schedule: Schedule) -> Move:
        return Move(optimiser=self.options.weight_optimiser, schedule=schedule)


def channel_shares(space: Space) -> dict[ChoiceId, list[float]]:
    """Return what each option of a choice adds to u: the mean over blocks of the share of its channels that runs."""
    blocks = Counter(choice.task for choice in space.choices)
    found: dict[ChoiceId, list[float]] = {}
    for choice in space.choices:
        options = space.entries[choice.place][choice.task]
        found[choice] = [0.0 if option.skip else option.channels / blocks[choice.task] for option in options]
    return found
