"""Properties: the cost terms are the brute-force expectation over all plans, exactly, whatever they count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from automtl_model import OWN, SHARED, SKIPPED
from backbones import BACKBONES, conv, two_taps
from cost_backbones import COSTLY, head_of_all_maps
from hypothesis import given, settings
from hypothesis import strategies as st
from shortcut_nets import SHORTCUTS
from torch import nn

from trunkline.errors import InvalidConfig
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.cost import graph_cost
from trunkline.graph.graph import Graph, name_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.skip import Skip
from trunkline.sharing.space import Space
from trunkline.sharing.units import Granularity, Unit
from trunkline.supermodel.cost_term import cost_term
from trunkline.supermodel.expected_cost import MAX_TASKS, ExpectedCost
from trunkline.supermodel.methods.automtl import AutoMTLOptions, space_of
from trunkline.supermodel.workload import workload

pytestmark = pytest.mark.properties

BLOCKS: Mapping[str, Callable[[], Graph]] = {
    **BACKBONES,
    "taps": two_taps,
    **{kind: make for kind, (make, _) in SHORTCUTS.items()},
}
"""Networks with blocks that may be skipped: by the identity, or by a shortcut of their own."""
TERMS = ("macs", "parameters", "milliseconds")
Choices = tuple[tuple[int, ...], ...]
"""An option for each unit and task."""


class Term:
    """A cost term, of probabilities of shared, own and skip, ``[units, T, 3]``."""

    def __init__(self, term: nn.Module, tasks: tuple[str, ...]) -> None:
        self.term, self.tasks = term, tasks

    def __call__(self, p: torch.Tensor) -> torch.Tensor:
        return self.term(self.policy(p))

    def absolute(self, p: torch.Tensor) -> torch.Tensor:
        return self.term.absolute(self.policy(p))

    def policy(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        return {task: p[:, index] for index, task in enumerate(self.tasks)}


class Case:
    """A backbone for some tasks, with its terms, and what a plan really costs."""

    def __init__(
        self, backbone: Graph, tasks: int, *, heads: int = 0, batchnorm: str = "tied", units: Granularity = "operator"
    ) -> None:
        self.backbone, self.batchnorm = backbone, batchnorm
        self.tasks = tuple(f"t{i}" for i in range(tasks))
        self.heads = {task: head_of_all_maps(backbone) for task in self.tasks[:heads]}
        options = AutoMTLOptions(batchnorm=batchnorm, units=units)
        self.space = space_of(Backbone(backbone), self.tasks, options)
        self.units, self.skips = self.space.table.units, self.space.table.skips
        work = workload(self.space, self.heads)
        operators = self.space.backbone.table("operator")
        self.ms, self.skip_ms = milliseconds(backbone, operators.units, operators.skips)
        if units == "block":
            self.skip_ms = [0.0] * len(self.units)  # the identity, or nodes of the block
        terms = {
            "macs": cost_term(self.space, self.heads, "macs"),
            "parameters": cost_term(self.space, self.heads, "parameters"),
            "milliseconds": ExpectedCost(self.space, work, self.ms, self.skip_ms),
        }
        self.terms: Mapping[str, Term] = {name: Term(term, self.tasks) for name, term in terms.items()}
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
        granularity = self.space.table.granularity
        return make_plan(self.backbone, self.tasks, rows, granularity=granularity, batchnorm=self.batchnorm)

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


def milliseconds(
    backbone: Graph, units: Sequence[Unit], skips: Sequence[Skip | None]
) -> tuple[dict[str, float], list[float]]:
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


@cache
def block_case(name: str, tasks: int) -> Case:
    return Case(BLOCKS[name](), tasks, units="block")


@pytest.mark.parametrize("name", COSTLY)
@pytest.mark.parametrize("batchnorm", ["tied", "task"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_one_hot_cost_is_the_lowered_models(name: str, batchnorm: str, data: st.DataObject) -> None:
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


@pytest.mark.parametrize("name", BLOCKS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_one_hot_cost_of_blocks(name: str, data: st.DataObject) -> None:
    """What a skip keeps of a block runs once for tasks that run it and tasks that skip it, of equal inputs."""
    tasks = data.draw(st.integers(1, 3))
    made = block_case(name, tasks)
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    choices = tuple(tuple(int(rng.choice(options)) for _ in range(tasks)) for options in made.options())
    real = made.real(choices)
    for term in TERMS:
        assert float(made.terms[term].absolute(one_hot(choices))) == pytest.approx(real[term], rel=1e-12), term


@pytest.mark.parametrize("name", BLOCKS)
def test_soft_blocks_cost_the_expectation(name: str) -> None:
    expected_costs(block_case(name, 2))


@pytest.mark.parametrize("name", ["attention", "dense_net", "pyramid", "shrinking", "siamese"])
def test_soft_choices_cost_the_expectation(name: str) -> None:
    expected_costs(case(name, 2, 1, "tied"))


def expected_costs(made: Case) -> None:
    """Two units stay open, the last two that may be skipped; the term is linear in each choice, so that says all."""
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


def diamond() -> Graph:
    """One stem, two arms, the product of both, and a unit behind it."""
    b = GraphBuilder("diamond")
    x = b.image("image", (3, 8, 8))
    stem = conv(b, x, "u0", 4, kernel=1)
    left, right = conv(b, stem, "u1", 4, kernel=1), conv(b, stem, "u2", 4, kernel=1)
    product = b.node("Mul", [left, right], name="product")
    return b.finish([left, conv(b, product, "u3", 4, kernel=1)])


def count(space: Space, needs: Sequence[frozenset[int]], costs: Mapping[str, float], choices: Choices) -> float:
    """Count the distinct executions of one assignment, written out for the diamond."""
    before = [(), (0,), (0,), (0, 1, 2)]
    skips = [skip is not None and skip.keeps_equal for skip in space.table.skips]

    def value(task: int, units: Sequence[int]) -> tuple[tuple[int, int], ...]:
        found = []
        for m in units:
            option = choices[m][task]
            same = option == SHARED or (option == SKIPPED and skips[m])
            found.append((option, -1 if same else task))
        return tuple(found)

    total = 0.0
    for index, name in enumerate(space.table.names):
        chosen = {task: choices[index][task] for task in needs[index]}
        shared = {value(task, before[index]) for task, option in chosen.items() if option == SHARED}
        own = sum(option == OWN for option in chosen.values())
        total += (len(shared) + own) * costs[name]
        skipping = [task for task, option in chosen.items() if option == SKIPPED]
        projection = space.table.skips[index]
        if projection is not None and not projection.is_identity:
            total += len(skipping) * projection.macs
    return total + len({value(task, before[3]) for task in needs[3]}) * costs["product"]


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_brute_force_expectation(tasks: int) -> None:
    """Every assignment of the diamond, by its probability."""
    graph = diamond()
    names = tuple(f"t{i}" for i in range(tasks))
    space = space_of(Backbone(graph), names, AutoMTLOptions())
    costs = {"u0": 7.0, "u1": 3.0, "u2": 5.0, "u3": 11.0, "product": 13.0}
    everyone = frozenset(range(tasks))
    skip_costs = [0.0 if skip is None or skip.is_identity else float(skip.macs) for skip in space.table.skips]
    term = ExpectedCost(space, workload(space, {}), costs, skip_costs)
    allowed = [[SHARED, OWN, *([SKIPPED] if skip is not None else [])] for skip in space.table.skips]
    rng = np.random.default_rng(tasks)
    p = np.zeros((4, tasks, 3))
    for unit, options in enumerate(allowed):
        p[unit, :, : len(options)] = rng.dirichlet(np.ones(len(options)), size=tasks)
    expected = 0.0
    for flat in itertools.product(*(allowed[i] for i in range(4) for _ in range(tasks))):
        choices = tuple(flat[i * tasks : (i + 1) * tasks] for i in range(4))
        weight = math.prod(p[i, t, choices[i][t]] for i in range(4) for t in range(tasks))
        expected += weight * count(space, [everyone] * 4, costs, choices)
    found = Term(term, names)
    width = max(len(options) for options in allowed)
    policy = torch.tensor(p[..., :width])
    assert float(found.absolute(policy)) == pytest.approx(expected, rel=1e-12)
    assert float(found(policy)) == pytest.approx(expected / (tasks * 39), rel=1e-12)


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


def test_too_many_tasks_are_refused() -> None:
    """The sums have 2^T terms; beyond twelve tasks they are refused, not slow."""
    with pytest.raises(InvalidConfig, match=f"at most {MAX_TASKS} tasks, not {MAX_TASKS + 1}"):
        case("chain", MAX_TASKS + 1, 0, "tied")
