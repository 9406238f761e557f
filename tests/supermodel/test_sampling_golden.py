"""Golden: the plan that a distribution ends in, against all plans there are."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
import torch
from automtl_model import OWN, SHARED, SKIPPED
from backbones import chain
from cost_backbones import head_of_all_maps, pyramid
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig
from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.units import find_units
from trunkline.supermodel.decision import Sampling, choose, choose_several
from trunkline.supermodel.methods.automtl import AutoMTLOptions, space_of

pytestmark = pytest.mark.golden

TASKS = ("a", "b")
UNITS = [unit.name for unit in find_units(chain())]
FREE = 3
"""Units that are left open in most tests; with two options for two tasks there are 64 plans."""


def distribution(seed: int = 0) -> NDArray[np.float64]:
    """Every unit but the last is open between sharing and a copy of its own."""
    p = np.zeros((len(UNITS), len(TASKS), 3))
    p[..., SHARED] = np.random.default_rng(seed).uniform(0.35, 0.65, (len(UNITS), len(TASKS)))
    p[FREE:, :, SHARED] = 1
    p[..., OWN] = 1 - p[..., SHARED]
    return p


def plan_from(
    backbone: Graph, heads: Mapping[str, Graph], tasks: tuple[str, ...], p: NDArray[np.float64], sampling: Sampling
) -> SharingPlan:
    """Take a plan from probabilities of shared, own and skip, ``[units, T, 3]``."""
    space = space_of(Backbone(backbone), tasks, AutoMTLOptions())
    policy = {task: torch.from_numpy(p[:, index].copy()) for index, task in enumerate(tasks)}
    return choose(space, heads, policy, sampling, "test", 3)


def decided(p: NDArray[np.float64], **sampling: object) -> SharingPlan:
    return plan_from(chain(), {}, TASKS, p, Sampling(**sampling))


def likelihood(p: NDArray[np.float64], plan: SharingPlan) -> float:
    options = {0: SHARED, 1: OWN, 2: OWN, "skip": SKIPPED}
    return math.prod(
        p[i, t, options[plan.choice(unit, task)]] for i, unit in enumerate(UNITS) for t, task in enumerate(TASKS)
    )


@cache
def all_plans() -> list[tuple[SharingPlan, tuple[float, float]]]:
    """Every plan that :func:`distribution` allows, with its shares of executed MACs and of parameters."""
    backbone, plans = chain(), []
    for flat in itertools.product((0, 1), repeat=FREE * len(TASKS)):
        rows = {
            unit: {task: flat[i * len(TASKS) + t] * (t + 1) if i < FREE else 0 for t, task in enumerate(TASKS)}
            for i, unit in enumerate(UNITS)
        }
        plan = make_plan(backbone, TASKS, rows)
        plans.append((plan, executed_cost(plan, backbone).relative))
    return plans


def test_argmax_takes_the_most_likely_options() -> None:
    p = distribution()
    plan = decided(p, kind="argmax")
    assert likelihood(p, plan) == pytest.approx(p.max(axis=-1).prod())
    assert plan.method == "test"


@pytest.mark.parametrize("seed", range(3))
def test_best_draw_is_the_most_likely(seed: int) -> None:
    """Of 64 plans, 600 draws meet the likeliest; the first draw alone is another one."""
    p = distribution(seed)
    best, first = decided(p, kind="best", seed=seed, draws=600), decided(p, kind="draw", seed=seed)
    assert best.units == decided(p, kind="argmax").units
    assert likelihood(p, first) < likelihood(p, best)


def test_more_draws_are_never_worse() -> None:
    """Draws come in one order: the first of them is what ``draw`` takes, and each of them may be the best so far."""
    p = distribution(7)
    found = [likelihood(p, decided(p, kind="best", draws=draws)) for draws in range(1, 25)]
    assert found == sorted(found)
    assert found[0] == likelihood(p, decided(p, kind="draw"))
    assert len(set(found)) > 2


@pytest.mark.parametrize("budget", ["max_macs", "max_parameters", "both"])
def test_best_draw_inside_the_budget(budget: str) -> None:
    """Of all draws that keep the budget, ``best`` takes the most likely."""
    p = distribution(1)
    limits = {"max_macs": 0.8, "max_parameters": 0.8} if budget == "both" else {budget: 0.7}
    macs, parameters = limits.get("max_macs", 1.0), limits.get("max_parameters", 1.0)
    fits = [plan for plan, shares in all_plans() if shares[0] <= macs and shares[1] <= parameters]
    assert 0 < len(fits) < len(all_plans())
    best = decided(p, kind="best", draws=600, **limits)
    assert best.units == max(fits, key=lambda plan: likelihood(p, plan)).units
    assert likelihood(p, best) < likelihood(p, decided(p, kind="argmax"))


@pytest.mark.parametrize(("budget", "limit"), [("max_macs", 0.95), ("max_parameters", 0.7)])
def test_a_draw_keeps_the_budget(budget: str, limit: float) -> None:
    """The first draw inside it is taken."""
    index = ("max_macs", "max_parameters").index(budget)

    def share(seed: int, **limits: float) -> float:
        return executed_cost(decided(distribution(), kind="draw", seed=seed, **limits), chain()).relative[index]

    free, kept = [share(seed) for seed in range(8)], [share(seed, **{budget: limit}) for seed in range(8)]
    assert max(free) > limit >= max(kept)
    assert all(mine == other for mine, other in zip(free, kept, strict=True) if mine <= limit)


def test_a_budget_may_be_just_met() -> None:
    """A budget is the most that is allowed, not the first that is too much."""
    p = distribution()
    plan = decided(p, kind="argmax")
    macs, parameters = executed_cost(plan, chain()).relative
    assert decided(p, kind="argmax", max_macs=macs, max_parameters=parameters).units == plan.units
    with pytest.raises(InvalidConfig, match="none of 1 plans"):
        decided(p, kind="argmax", max_macs=macs - 1e-9)


def test_impossible_budget_names_the_cheapest_plan() -> None:
    """The error says what the cheapest of the plans that were tried would cost."""
    p = distribution()
    cheapest = min(shares for _, shares in all_plans())
    text = f"none of 64 plans .*MACs 0\\.2, parameters None.*runs {cheapest[0]:.3f} of .* with {cheapest[1]:.3f} of"
    with pytest.raises(InvalidConfig, match=text) as caught:
        decided(p, kind="best", draws=900, max_macs=0.2)
    assert caught.value.problems[0].place == "search.sampling"


@pytest.mark.parametrize("kind", ["argmax", "draw"])
def test_advice_is_to_try_more_plans(kind: str) -> None:
    with pytest.raises(InvalidConfig, match=r'`kind = "best"`'):
        decided(distribution(), kind=kind, max_parameters=0.2)


def test_no_task_may_skip_everything() -> None:
    p = np.zeros((len(UNITS), len(TASKS), 3))
    p[..., SHARED], p[..., SKIPPED] = 0.2, 0.8  # two of five draws skip everything, and the next one is taken
    p[:, 0] = [1.0, 0.0, 0.0]
    for seed in range(20):
        plan = decided(p, kind="draw", seed=seed)
        assert any(plan.choice(unit, "b") != "skip" for unit in UNITS)
    p[:, 1] = [0.0, 0.0, 1.0]
    with pytest.raises(InvalidConfig, match="lets a task skip the whole backbone"):
        decided(p, kind="draw")


def test_draws_follow_the_distribution_and_their_seed() -> None:
    p = distribution()
    p[1, 0] = [0.2, 0.7, 0.1]
    plans = [decided(p, kind="draw", seed=seed) for seed in range(150)]
    drawn = Counter(plan.choice(UNITS[1], "a") for plan in plans)
    for choice, share in ((0, 0.2), (1, 0.7), ("skip", 0.1)):
        assert drawn[choice] / 150 == pytest.approx(share, abs=0.1)
    assert decided(p, kind="draw", seed=7).units == plans[7].units
    assert plans[7].provenance == {"sampling": {"kind": "draw", "seed": 7, "draws": 64}, "seed": 3}
    assert "seed" not in decided(p).provenance  # nothing is drawn of what is likeliest


def test_runs_of_other_seeds_draw_otherwise() -> None:
    """With one policy and one number of a draw: what seeds say together rests on draws that are apart."""
    p = distribution()
    space = space_of(Backbone(chain()), TASKS, AutoMTLOptions())
    policy = {task: torch.from_numpy(p[:, index].copy()) for index, task in enumerate(TASKS)}
    drawn = [choose(space, {}, policy, Sampling(kind="draw"), "test", seed) for seed in range(8)]
    assert len({str(plan.units) for plan in drawn}) > 6


def test_several_draws_are_different_plans() -> None:
    """One for each seed from the first on; of equal ones the first. The most likely plan is only one."""
    p = distribution()
    space = space_of(Backbone(chain()), TASKS, AutoMTLOptions())
    policy = {task: torch.from_numpy(p[:, index].copy()) for index, task in enumerate(TASKS)}
    found = choose_several(space, {}, policy, Sampling(kind="draw", seed=5), "test", 3, 40)
    expected: dict[int, SharingPlan] = {}
    for seed in range(5, 45):
        plan = decided(p, kind="draw", seed=seed)
        if plan.units not in [known.units for known in expected.values()]:
            expected[seed] = plan
    assert found == expected and 5 < len(found) < 40
    assert list(choose_several(space, {}, policy, Sampling(), "test", 3, 8)) == [0]


def test_a_draw_tries_64_times() -> None:
    """``draws`` is for ``best`` alone: with one draw, most seeds would find nothing inside this budget."""
    for seed in range(5):
        decided(distribution(), kind="draw", seed=seed, draws=1, max_parameters=0.6)
    with pytest.raises(InvalidConfig, match="none of"):
        decided(distribution(), kind="draw", max_parameters=0.4)


def test_probabilities_may_add_up_to_less() -> None:
    """A distribution learned in float32 may sum to less than 1; there is no fourth option."""
    p = distribution()
    p[:FREE] = [0.0, 0.0, 1.0]
    p[0] = [0.5, 0.5, 0.0]
    likely = [decided(0.9 * p, kind="draw", seed=seed) for seed in range(30)]
    assert all(plan.choice(UNITS[1], "a") == "skip" for plan in likely)
    assert {plan.choice(UNITS[0], "b") for plan in likely} == {0, 2}


def test_a_budget_counts_what_the_heads_read() -> None:
    """The first of two feature maps has a layer of its own, which runs only where a head reads that map."""
    backbone: Graph = pyramid()
    units = find_units(backbone)
    p = np.zeros((len(units), 1, 3))
    p[..., SHARED] = 1
    heads = {"a": head_of_all_maps(backbone)}
    limits = Sampling(max_macs=0.9)
    assert plan_from(backbone, {}, ("a",), p, limits).tasks == ("a",)
    with pytest.raises(InvalidConfig, match=r"the cheapest runs 1\.000 of the MACs"):
        plan_from(backbone, heads, ("a",), p, limits)
