"""From a learned distribution to one plan: the most likely, a draw, or the best of several under a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.plan import SharingPlan, make_plan
from trunkline.sharing.units import Unit, find_units
from trunkline.supermodel.choice import SKIPPED, instance_of

Distribution = NDArray[np.float64]
Choices = NDArray[np.int64]

DRAWS_PER_TRY = 64

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
        seed: Of the draws.
        draws: How many plans ``best`` compares; the most likely one inside the budget wins, of equals the first drawn.
        max_macs: Budget of executed backbone MACs, as a share of N independent backbones.
        max_parameters: Budget of backbone parameters, likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["argmax", "draw", "best"] = "argmax"
    seed: int = Field(0, ge=0)
    draws: int = Field(64, ge=1)
    max_macs: float | None = Field(None, gt=0)
    max_parameters: float | None = Field(None, gt=0)


def choose(
    backbone: Graph,
    heads: Mapping[str, Graph],
    tasks: Sequence[str],
    distribution: Distribution,
    sampling: Sampling,
    settings: Mapping[str, Any],
) -> SharingPlan:
    """Return a valid plan for ``distribution``.

    Args:
        backbone: Whose units are decided about.
        heads: By task; what no head reads is not run, and a budget does not count it.
        tasks: Tasks in output order.
        distribution: Probabilities of shared, own and skip, ``[units, T, 3]``.
        sampling: How a plan is taken from it.
        settings: What else the plan says.

    Raises:
        InvalidConfig: No plan that was tried is valid and inside the budget; the message says the cheapest seen.
    """
    units = find_units(backbone)
    provenance = {"sampling": sampling.model_dump(exclude_none=True)}
    seen: list[tuple[float, float]] = []
    for choices in _candidates(distribution, sampling):
        if (choices == SKIPPED).all(axis=0).any():
            continue  # a task that skips everything is no model
        plan = _plan(backbone, tasks, units, choices, {**settings, "provenance": provenance})
        shares = executed_cost(plan, backbone, heads).shares
        if _inside(shares, sampling):
            return plan
        seen.append(shares)
    raise InvalidConfig(_why_none(seen, sampling), place="search.options.sampling", advice=_ADVICE[sampling.kind])


def _candidates(distribution: Distribution, sampling: Sampling) -> list[Choices]:
    """Return plans in the order in which they are wanted: the first one inside the budget is taken."""
    if sampling.kind == "argmax":
        return [distribution.argmax(axis=-1)]
    rng = np.random.default_rng(sampling.seed)
    count = sampling.draws if sampling.kind == "best" else DRAWS_PER_TRY
    cumulative = np.cumsum(distribution, axis=-1)
    cumulative /= cumulative[..., -1:]
    drawn = [(rng.random(distribution.shape[:2])[..., None] >= cumulative).sum(axis=-1) for _ in range(count)]
    if sampling.kind == "draw":
        return drawn
    different = {choices.tobytes(): choices for choices in drawn}.values()
    return sorted(different, key=lambda choices: -_log_likelihood(distribution, choices))


def _plan(
    backbone: Graph, tasks: Sequence[str], units: Sequence[Unit], choices: Choices, settings: Mapping[str, Any]
) -> SharingPlan:
    rows = {
        unit.name: {task: instance_of(int(choices[i, t]), t) for t, task in enumerate(tasks)}
        for i, unit in enumerate(units)
    }
    return make_plan(backbone, tasks, rows, granularity="operator", tie=True, **settings)


def _inside(shares: tuple[float, float], sampling: Sampling) -> bool:
    macs, parameters = shares
    return (sampling.max_macs is None or macs <= sampling.max_macs) and (
        sampling.max_parameters is None or parameters <= sampling.max_parameters
    )


def _log_likelihood(distribution: Distribution, choices: Choices) -> float:
    picked = np.take_along_axis(distribution, choices[..., None], axis=-1)
    return float(np.log(np.maximum(picked, 1e-300)).sum())


def _why_none(seen: Sequence[tuple[float, float]], sampling: Sampling) -> str:
    if not seen:
        return "every plan that was tried lets a task skip the whole backbone"
    macs, parameters = min(seen)
    return (
        f"none of {len(seen)} plans is inside the budget (MACs {sampling.max_macs}, parameters "
        f"{sampling.max_parameters}); the cheapest runs {macs:.3f} of the MACs with {parameters:.3f} of the parameters"
    )
