"""Properties: the cost terms are the brute-force expectation over all plans, exactly, whatever they count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
import torch
from backbones import BACKBONES
from cost_backbones import COSTLY, head_of_all_maps
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.cost import graph_cost, node_costs
from trunkline.graph.graph import Graph, name_of
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.skip import Skip, skips_of
from trunkline.sharing.units import Unit, find_units
from trunkline.supermodel.choice import OWN, SHARED, SKIPPED
from trunkline.supermodel.expected_cost import MAX_TASKS, ExpectedCost, ExpectedParameters
from trunkline.supermodel.workload import Behind, Run, Workload, workload

pytestmark = pytest.mark.properties

TERMS = ("macs", "parameters", "milliseconds")
Choices = tuple[tuple[int, ...], ...]
"""An option for each unit and task."""


class Case:
    """A backbone for some tasks, with its terms, and what a plan really costs."""

    def __init__(self, backbone: Graph, tasks: int, *, heads: int = 0, batchnorm: str = "tied") -> None:
        self.backbone, self.batchnorm = backbone, batchnorm
        self.tasks = tuple(f"t{i}" for i in range(tasks))
        self.heads = {task: head_of_all_maps(backbone) for task in self.tasks[:heads]}
        self.units: list[Unit] = find_units(backbone)
        self.skips: list[Skip | None] = skips_of(backbone, self.units)
        work: Workload = workload(backbone, self.heads, self.tasks, self.units, self.skips, batchnorm)
        costs = node_costs(backbone)
        self.ms, self.skip_ms = milliseconds(backbone, self.units, self.skips)
        skip_macs = [0 if skip is None else skip.macs for skip in self.skips]
        self.terms: Mapping[str, nn.Module] = {
            "macs": ExpectedCost(work, {name: cost.macs for name, cost in costs.items()}, skip_macs),
            "parameters": ExpectedParameters(work, graph_cost(backbone).parameters),
            "milliseconds": ExpectedCost(work, self.ms, self.skip_ms),
        }
        self.alone = {
            "macs": graph_cost(backbone).macs,
            "parameters": graph_cost(backbone).parameters,
            "milliseconds": sum(self.ms.values()),
        }

    def plan(self, choices: Choices) -> SharingPlan:
        rows = {
            unit.name: {task: (0, t + 1, "skip")[row[t]] for t, task in enumerate(self.tasks)}
            for unit, row in zip(self.units, choices, strict=True)
        }
        return make_plan(self.backbone, self.tasks, rows, batchnorm=self.batchnorm)

    def real(self, choices: Choices) -> dict[str, float]:
        """What the lowered model of a plan costs."""
        plan = self.plan(choices)
        cost = executed_cost(plan, self.backbone, self.heads).backbone
        lowered = lower(plan, self.backbone, self.heads).graph
        ran = [name_of(node).partition("@")[0] for node in lowered.nodes]
        skipped = {f"{unit.name}.skip": ms for unit, ms in zip(self.units, self.skip_ms, strict=True)}
        times = {**self.ms, **skipped}
        return {
            "macs": cost.macs,
            "parameters": cost.parameters,
            "milliseconds": sum(times.get(name, 0) for name in ran),
        }

    def options(self) -> list[list[int]]:
        """The options of each unit; the first always runs, so that no task skips everything."""
        skippable = [skip is not None and index > 0 for index, skip in enumerate(self.skips)]
        return [[SHARED, OWN, *([SKIPPED] if able else [])] for able in skippable]


def milliseconds(backbone: Graph, units: list[Unit], skips: list[Skip | None]) -> tuple[dict[str, float], list[float]]:
    """Times that a table might hold: of each unit by its name, of each node of no unit, and of each skip that runs.

    What computes a weight takes no time: export stores the result.
    """
    core = {name for unit in units for name in unit.nodes[1:]}
    run = [node for node in backbone.nodes if not computes_weight(node)]
    names = [name for name in map(name_of, run) if name not in core]
    runs = [skip is not None and not skip.is_identity for skip in skips]
    return {name: 1 + 0.25 * i for i, name in enumerate(names)}, [0.5 + i if run else 0.0 for i, run in enumerate(runs)]


def one_hot(choices: Choices) -> torch.Tensor:
    return nn.functional.one_hot(torch.tensor(choices), 3).double()


@cache
def case(name: str, tasks: int, heads: int, batchnorm: str) -> Case:
    return Case(COSTLY[name](), tasks, heads=heads, batchnorm=batchnorm)


@pytest.mark.parametrize("name", COSTLY)
@pytest.mark.parametrize("batchnorm", ["tied", "task"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_plan_costs_what_its_lowered_model_costs(name: str, batchnorm: str, data: st.DataObject) -> None:
    """Some tasks read all feature maps by a head, the others the last one alone."""
    tasks = data.draw(st.integers(1, 3))
    made = case(name, tasks, data.draw(st.integers(0, tasks)), batchnorm)
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    mostly = rng.choice([SHARED, SKIPPED])
    choices = tuple(
        tuple(int(rng.choice([mostly] * 4 + options if mostly in options else options)) for _ in range(tasks))
        for options in made.options()
    )
    real = made.real(choices)
    for term in TERMS:
        assert float(made.terms[term].absolute(one_hot(choices))) == pytest.approx(real[term], rel=1e-12), term
        share = float(made.terms[term](one_hot(choices)))
        assert share == pytest.approx(real[term] / (tasks * made.alone[term]), rel=1e-12)


@pytest.mark.parametrize("name", ["attention", "dense_net", "pyramid", "shrinking", "siamese"])
def test_soft_choices_cost_the_expectation_over_all_plans(name: str) -> None:
    """Two units stay open, the last two that may be skipped; the term is linear in each choice, so that says all."""
    made = case(name, 2, 1, "tied")
    rng = np.random.default_rng(0)
    options = made.options()
    opened = [index for index, able in enumerate(options) if len(able) == 3][-2:]
    decided = [[SHARED] if index not in opened else able for index, able in enumerate(options)]
    p = np.zeros((len(options), 2, 3))
    for index, able in enumerate(decided):
        p[index][:, able] = rng.dirichlet(np.ones(len(able)), size=2)
    expected = dict.fromkeys(TERMS, 0.0)
    for flat in itertools.product(*(able for able in decided for _ in range(2))):
        choices = tuple(zip(flat[::2], flat[1::2], strict=True))
        weight = math.prod(p[i, t, option] for i, row in enumerate(choices) for t, option in enumerate(row))
        for term, cost in made.real(choices).items():
            expected[term] += weight * cost
    for term in TERMS:
        assert float(made.terms[term].absolute(torch.tensor(p))) == pytest.approx(expected[term], rel=1e-12), term


def diamond(tasks: int) -> tuple[Workload, dict[str, float], list[float]]:
    """One stem, two arms, the product of both, and a unit behind it; the stem's skip is a projection.

    The last task does not need the second arm.
    """
    everyone = frozenset(range(tasks))
    before = [frozenset[int](), frozenset({0}), frozenset({0}), frozenset({0, 1, 2})]
    needs = [everyone, everyone, everyone - {tasks - 1} or everyone, everyone]
    work = Workload(
        tasks=tasks,
        units=tuple(Run((f"u{i}",), before[i], needs[i]) for i in range(4)),
        others=(Run(("product",), before[3], everyone), Run(("relu",), before[1], everyone)),
        behind=(Behind(skipped=False), Behind(skipped=True), Behind(), Behind(skipped=True)),
        weights=(),
    )
    return work, {"u0": 7, "u1": 3, "u2": 5, "u3": 11, "product": 13}, [2, 1, 0, 3]


def count(work: Workload, costs: dict[str, float], skips: list[float], choices: Choices) -> float:
    """Count the distinct executions of one assignment."""

    def value(task: int, units: frozenset[int]) -> tuple[tuple[int, int], ...]:
        passed = [(choices[m][task], work.behind[m]) for m in sorted(units)]
        alike = [option == SHARED or (option == SKIPPED and behind.skipped) for option, behind in passed]
        return tuple((option, -1 if same else task) for (option, _), same in zip(passed, alike, strict=True))

    total = 0.0
    for index, unit in enumerate(work.units):
        chosen = {task: choices[index][task] for task in unit.tasks}
        shared = {value(task, unit.ancestors) for task, option in chosen.items() if option == SHARED}
        own = sum(option == OWN for option in chosen.values())
        total += (len(shared) + own) * costs[f"u{index}"]
        skipping = [task for task, option in chosen.items() if option == SKIPPED]
        alike = {value(task, unit.ancestors) for task in skipping}
        total += (len(alike) if work.behind[index].skipped else len(skipping)) * skips[index]
    for run in work.others:
        total += len({value(task, run.ancestors) for task in run.tasks}) * costs.get(run.nodes[0], 0)
    return total


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_brute_force_expectation(tasks: int) -> None:
    work, costs, skips = diamond(tasks)
    p = np.random.default_rng(tasks).dirichlet(np.ones(3), size=(4, tasks))
    if tasks == 3:
        p[3], p[2, :2], p[1, 0] = [0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    expected = 0.0
    for flat in itertools.product(*(np.flatnonzero(p[i, t]) for i in range(4) for t in range(tasks))):
        choices = tuple(flat[i * tasks : (i + 1) * tasks] for i in range(4))
        weight = math.prod(p[i, t, choices[i][t]] for i in range(4) for t in range(tasks))
        expected += weight * count(work, costs, skips, choices)
    term = ExpectedCost(work, costs, skips)
    assert float(term.absolute(torch.tensor(p))) == pytest.approx(expected, rel=1e-12)
    assert float(term(torch.tensor(p))) == pytest.approx(expected / (tasks * 39), rel=1e-12)


@pytest.mark.parametrize("term", TERMS)
def test_gradient_matches_finite_differences(term: str) -> None:
    made = case("dense_net", 3, 0, "tied")
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=(len(made.units), 3))
    assert torch.autograd.gradcheck(made.terms[term], (torch.tensor(p, requires_grad=True),), atol=1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_bounds(name: str) -> None:
    """All shared costs one backbone, all own costs T of them, in every currency."""
    made = case(name, 3, 3, "tied")
    for option, share in ((SHARED, 1 / 3), (OWN, 1.0)):
        p = one_hot(((option,) * 3,) * len(made.units))
        for term in TERMS:
            assert float(made.terms[term](p)) == pytest.approx(share), term


def test_more_tasks_than_sums_can_hold_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_TASKS} tasks, not {MAX_TASKS + 1}"):
        case("chain", MAX_TASKS + 1, 0, "tied")
