"""From a learned distribution to one plan: the most likely, a draw, or the best of several under a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_groups import groups_of

Distribution = NDArray[np.float64]
"""Probabilities of options, ``[n, K]``."""
Choices = NDArray[np.int64]
"""Numbers of options, ``[n]``."""

DRAWS_PER_TRY = 64
"""How many plans ``draw`` tries, until one is inside the budget."""

_ADVICE = {
    "argmax": 'raise the budget or the weight of the cost term, or take another plan: `kind = "best"`',
    "draw": 'raise the budget or the weight of the cost term, or draw more often: `kind = "best"` with more `draws`',
    "best": "raise the budget, the number of draws, or the weight of the cost term",
}


class Sampling(BaseModel):
    """How a plan is taken from the distribution.

    Attributes:
        kind: ``argmax``, ``draw`` (AutoMTL: one categorical draw per unit and task; the first of 64 that is inside the
            budget), or ``best`` of ``draws``.
        seed: Of the draws, beside the run's own, so that one search can be drawn from again.
        draws: How many plans ``best`` compares; the most likely one inside the budget wins, of equals the first drawn.
        max_macs: Budget of executed backbone MACs, as a share of N independent backbones.
        max_parameters: Budget of backbone parameters, as a share of N independent backbones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["argmax", "draw", "best"] = "argmax"
    seed: int = Field(0, ge=0)
    draws: int = Field(64, ge=1)
    max_macs: float | None = Field(None, gt=0)
    max_parameters: float | None = Field(None, gt=0)


def choose(
    space: Space, heads: Mapping[str, Graph], policy: Mapping[str, Tensor], sampling: Sampling, method: str, seed: int
) -> SharingPlan:
    """Return a valid plan for a learned policy.

    Args:
        space: What was open.
        heads: By task; what no head reads is not run, and a budget does not count it.
        policy: Probabilities of options, ``[n, K]``, by group of choices.
        sampling: How a plan is taken from it.
        method: Whose plan it is.
        seed: The run's, which draws too: searches of several seeds are independent to the end.

    Raises:
        InvalidConfig: No plan that was tried is valid and inside the budget; the message gives the cheapest seen.
    """
    groups = groups_of(space)
    rows = [policy[group.name].detach().double().cpu().numpy() for group in groups]
    provenance: dict[str, Any] = {"sampling": sampling.model_dump(exclude_none=True)}
    if sampling.kind != "argmax":
        provenance["seed"] = seed
    seen: list[tuple[float, float]] = []
    for picked in _candidates(rows, sampling, seed):
        picks: dict[ChoiceId, int] = {}
        for group, numbers in zip(groups, picked, strict=True):
            picks.update(zip(group.choices, numbers.tolist(), strict=True))
        if _skips_everything(space, picks):
            continue  # a head on the bare image is no model; AutoMTL's release does not check it
        plan = space.plan(picks, method=method, provenance=provenance)
        shares = executed_cost(plan, space.backbone, heads).relative
        if _inside(shares, sampling):
            return plan
        seen.append(shares)
    raise InvalidConfig(_why_none(seen, sampling), place="search.sampling", advice=_ADVICE[sampling.kind])


def choose_several(
    space: Space,
    heads: Mapping[str, Graph],
    policy: Mapping[str, Tensor],
    sampling: Sampling,
    method: str,
    seed: int,
    count: int,
) -> dict[int, SharingPlan]:
    """Return the different plans among ``count``, taken with one ``sampling.seed`` after another, by the first of each.

    Raises:
        InvalidConfig: As :func:`choose`.
    """
    plans: dict[int, SharingPlan] = {}
    for number in range(sampling.seed, sampling.seed + count):
        plan = choose(space, heads, policy, sampling.model_copy(update={"seed": number}), method, seed)
        if all(plan.units != known.units for known in plans.values()):
            plans[number] = plan
    return plans


def _skips_everything(space: Space, picks: Mapping[ChoiceId, int]) -> bool:
    rows = space.fixed(picks).entries.values()
    runs_something = {task for row in rows for task in space.tasks if not row[task][0].skip}
    return len(runs_something) < len(space.tasks)


def _candidates(rows: Sequence[Distribution], sampling: Sampling, seed: int) -> list[list[Choices]]:
    """Return picks, by group, in the order in which they are wanted: the first inside the budget is taken."""
    if sampling.kind == "argmax":
        return [[row.argmax(axis=-1) for row in rows]]
    rng = np.random.default_rng([seed, sampling.seed])
    count = sampling.draws if sampling.kind == "best" else DRAWS_PER_TRY
    drawn = _draws(rows, count, rng)
    if sampling.kind == "draw":
        return drawn
    # Equal plans once, in the order in which they were drawn first; sorting keeps that order among equally likely ones.
    different: dict[tuple[bytes, ...], list[Choices]] = {}
    for picked in drawn:
        key = tuple(numbers.tobytes() for numbers in picked)  # arrays cannot be keys
        different.setdefault(key, picked)
    return sorted(different.values(), key=lambda picked: _log_likelihood(rows, picked), reverse=True)


def _draws(rows: Sequence[Distribution], count: int, rng: np.random.Generator) -> list[list[Choices]]:
    """Return ``count`` times one draw a choice, by group."""
    # Of several shapes, or of none: a task alone may have nothing that is open.
    if len({row.shape for row in rows}) != 1:
        return [[_draw(row, rng) for row in rows] for _ in range(count)]
    # Unit by unit and in it task by task: a plan names its seed, so the order of the draws is part of its meaning.
    table = np.stack(rows, axis=1)
    tables = [_draw(table, rng) for _ in range(count)]
    return [[picked[:, task] for task in range(len(rows))] for picked in tables]


def _draw(distribution: Distribution, rng: np.random.Generator) -> Choices:
    cumulative = np.cumsum(distribution, axis=-1)
    # Probabilities learned in float32 add up to nearly 1: a number behind their end would be an option too many.
    ends = cumulative / cumulative[..., -1:]
    # `>=`, so that an option of probability 0, which ends where it begins, is never drawn: numbers may be 0.
    found: Choices = (rng.random(ends.shape[:-1])[..., None] >= ends).sum(axis=-1)
    return found


def _inside(shares: tuple[float, float], sampling: Sampling) -> bool:
    macs, parameters = shares
    if sampling.max_macs is not None and macs > sampling.max_macs:
        return False
    return sampling.max_parameters is None or parameters <= sampling.max_parameters


def _log_likelihood(rows: Sequence[Distribution], picked: Sequence[Choices]) -> float:
    taken = [np.take_along_axis(row, numbers[..., None], axis=-1) for row, numbers in zip(rows, picked, strict=True)]
    return float(sum(np.log(np.maximum(one, 1e-300)).sum() for one in taken))


def _why_none(seen: Sequence[tuple[float, float]], sampling: Sampling) -> str:
    if not seen:
        return "every plan that was tried lets a task skip the whole backbone"
    macs, parameters = min(seen)
    return (
        f"none of {len(seen)} plans is inside the budget (MACs {sampling.max_macs}, parameters "
        f"{sampling.max_parameters}); the cheapest runs {macs:.3f} of the MACs with {parameters:.3f} of the parameters"
    )
