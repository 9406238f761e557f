"""Properties: the expected-cost term is the brute-force expectation over all assignments, exactly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from backbones import BACKBONES, mobile, residual
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.ingest.cost import Cost
from trunkline.supermodel.choice import OWN, SHARED, SKIPPED
from trunkline.supermodel.cost_terms import ExpectedCost
from trunkline.supermodel.executed import executed_cost
from trunkline.supermodel.plan import make_plan
from trunkline.supermodel.skip import Skip, skips_of
from trunkline.supermodel.units import Unit, find_units


def diamond() -> tuple[list[Unit], list[Skip | None]]:
    """Four units: one stem, two arms, and a unit behind their join. The stem's skip is a projection."""
    ancestors = [frozenset(), frozenset({0}), frozenset({0}), frozenset({0, 1, 2})]
    units = [
        Unit(f"u{i}", (f"u{i}",), (), "x", "y", Cost(macs=macs), i + 1, ancestors[i])
        for i, macs in enumerate([7, 3, 5, 11])
    ]
    return units, [Skip("projection", macs=2), Skip("identity"), None, Skip("identity")]


def brute_force_cost(units: list[Unit], skips: list[Skip | None], choices: tuple[tuple[int, ...], ...]) -> int:
    """Count the distinct executions of one assignment: ``choices[l][t]``."""
    total = 0
    for index, unit in enumerate(units):
        runs = set()
        for task, option in enumerate(choices[index]):
            if option == SHARED:
                history = []
                for m in sorted(unit.ancestors):
                    skip = skips[m]
                    mine = choices[m][task]
                    private = mine == OWN or (mine == SKIPPED and (skip is None or not skip.is_identity))
                    history.append((mine, task if private else -1))
                runs.add(tuple(history))
            elif option == OWN:
                total += unit.cost.macs
            else:
                total += skips[index].macs if skips[index] is not None else 0
        total += len(runs) * unit.cost.macs
    return total


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_brute_force_expectation(tasks: int) -> None:
    units, skips = diamond()
    units, skips = (units[:3], skips[:3]) if tasks == 3 else (units, skips)
    rng = np.random.default_rng(tasks)
    p = rng.dirichlet(np.ones(3), size=(len(units), tasks))
    p[2, :, SKIPPED] = 0
    p /= p.sum(-1, keepdims=True)
    expected = 0.0
    for flat in itertools.product(range(3), repeat=len(units) * tasks):
        choices = tuple(tuple(flat[i * tasks : (i + 1) * tasks]) for i in range(len(units)))
        weight = np.prod([p[i, t, choices[i][t]] for i in range(len(units)) for t in range(tasks)])
        if weight:
            expected += weight * brute_force_cost(units, skips, choices)
    term = ExpectedCost(units, skips, tasks)
    assert float(term.absolute(torch.tensor(p))) == pytest.approx(expected, rel=1e-12)
    assert float(term(torch.tensor(p))) == pytest.approx(
        expected / (tasks * sum(u.cost.macs for u in units)), rel=1e-12
    )


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from(sorted(BACKBONES)), seed=st.integers(0, 10**6), tasks=st.integers(1, 3))
def test_one_hot_choices_cost_what_the_lowered_model_costs(name: str, seed: int, tasks: int) -> None:
    backbone = BACKBONES[name]()
    units = find_units(backbone)
    skips = skips_of(backbone, units)
    rng = np.random.default_rng(seed)
    p = np.zeros((len(units), tasks, 3))
    names = [f"t{i}" for i in range(tasks)]
    rows: dict[str, dict[str, int | str]] = {}
    for i, unit in enumerate(units):
        for t in range(tasks):
            # The first unit always runs, so that no task skips everything.
            options = [SHARED, SHARED, OWN] + ([SKIPPED] if skips[i] is not None and i else [])
            option = int(rng.choice(options))
            p[i, t, option] = 1
            rows.setdefault(unit.name, {})[names[t]] = (0, t + 1, "skip")[option]
    cost = executed_cost(make_plan(backbone, names, rows), backbone)
    assert float(ExpectedCost(units, skips, tasks).absolute(torch.tensor(p))) == pytest.approx(cost.backbone.macs)


def test_gradient_matches_finite_differences() -> None:
    units, skips = diamond()
    term = ExpectedCost(units, skips, 3)
    p = torch.tensor(np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(term, (p,), atol=1e-6)


def test_bounds() -> None:
    """All shared costs one backbone, all own costs T of them."""
    for make in (residual, mobile):
        backbone = make()
        units = find_units(backbone)
        term = ExpectedCost(units, skips_of(backbone, units), 4)
        for option, share in ((SHARED, 0.25), (OWN, 1.0)):
            p = torch.zeros(len(units), 4, 3)
            p[..., option] = 1
            assert float(term(p)) == pytest.approx(share)
