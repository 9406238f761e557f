"""BMTAS's formulas against their text, and its phases."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from backbones import conv
from method_work import ShakenWork, image, method_for, setup_for
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig
from trunkline.fragments.layers import batch_norm
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.cost import node_costs
from trunkline.graph.graph import Graph
from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel.cost_term import cost_term
from trunkline.supermodel.decision import Sampling
from trunkline.supermodel.expected_partitions import MAX_TASKS, ExpectedPartitions
from trunkline.supermodel.methods.bmtas import plain_ends
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden

Partition = frozenset[frozenset[int]]


def blocks(count: int) -> Graph:
    """A chain of blocks whose costs differ."""
    b = GraphBuilder("blocks")
    x = b.image("image", (3, 8, 8))
    for index in range(count):
        x = conv(b, x, f"block{index}", 3 + index, kernel=3)
        x = b.node("Relu", [x], name=f"relu{index}")
    return b.finish([x])


def blocks_of_one_width(count: int) -> Graph:
    """A chain of blocks that cost the same."""
    b = GraphBuilder("even blocks")
    x = b.image("image", (3, 8, 8))
    for index in range(count):
        x = b.node("Relu", [conv(b, x, f"block{index}", 3, kernel=3)], name=f"relu{index}")
    return b.finish([x])


def space_over(graph: Graph, tasks: int) -> Space:
    instances = [Option(number) for number in range(tasks)]
    names = [f"t{index}" for index in range(tasks)]
    return Space.over(Backbone(graph), names, "block", lambda unit, task: instances, tie=False)


def brute_force(p: NDArray[np.float64], costs: Sequence[float]) -> float:
    """Σ over all assignments of instances, each by its probability, of the blocks that its tree runs."""
    layers, tasks, options = p.shape
    total = 0.0
    for flat in itertools.product(range(options), repeat=layers * tasks):
        choices = np.array(flat).reshape(layers, tasks)
        weight = np.prod([p[m, t, choices[m, t]] for m in range(layers) for t in range(tasks)])
        groups = [len({tuple(choices[: m + 1, t]) for t in range(tasks)}) for m in range(layers)]
        total += weight * sum(cost * number for cost, number in zip(costs, groups, strict=True))
    return total


def over_partitions(p: NDArray[np.float64], costs: Sequence[float]) -> float:
    """The same by the partitions of the tasks, layer by layer: feasible where all assignments are too many."""
    layers, tasks, options = p.shape
    state: Mapping[Partition, float] = {frozenset({frozenset(range(tasks))}): 1.0}
    total = 0.0
    for layer in range(layers):
        new: dict[Partition, float] = defaultdict(float)
        for choices in itertools.product(range(options), repeat=tasks):
            weight = float(np.prod([p[layer, t, choices[t]] for t in range(tasks)]))
            for partition, before in state.items():
                new[_refined(partition, choices)] += before * weight
        total += costs[layer] * sum(len(partition) * weight for partition, weight in new.items())
        state = new
    return total


def _refined(partition: Partition, choices: Sequence[int]) -> Partition:
    parts = (frozenset(t for t in group if choices[t] == k) for group in partition for k in set(choices))
    return frozenset(part for part in parts if part)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("tasks", [1, 2, 3, 4])
def test_expected_cost_is_the_brute_force_expectation(tasks: int, layers: int) -> None:
    graph = blocks(layers)
    space = space_over(graph, tasks)
    p = np.random.default_rng(10 * tasks + layers).dirichlet(np.ones(tasks), size=(layers, tasks))
    policy = {f"t{t}": torch.tensor(p[:, t]) for t in range(tasks)}
    costs = [float(cost.macs) for name, cost in node_costs(graph).items() if name.startswith("block")]
    expected = over_partitions(p, costs)
    if tasks ** (tasks * layers) < 30_000:
        assert brute_force(p, costs) == pytest.approx(expected, rel=1e-12)
    term = cost_term(space, {}, "macs")
    assert float(term.absolute(policy)) == pytest.approx(expected, rel=1e-10)
    assert sum(costs) * (1 - 1e-9) <= expected <= tasks * sum(costs) * (1 + 1e-9)


def the_papers_recursion(p: NDArray[np.float64], costs: Sequence[float]) -> float:
    """Eqs. 5 and 6 as they stand, by all choices of a block; what they leave over is all tasks apart."""
    layers, tasks, options = p.shape
    whole = frozenset({frozenset(range(tasks))})
    apart = frozenset(frozenset({task}) for task in range(tasks))
    before: dict[Partition, float] = {whole: 1.0}
    total = 0.0
    for layer in range(layers):
        chosen: dict[Partition, float] = defaultdict(float)
        for choices in itertools.product(range(options), repeat=tasks):
            chosen[_refined(whole, choices)] += float(np.prod([p[layer, t, choices[t]] for t in range(tasks)]))
        found: dict[Partition, float] = {}
        for fine, q in chosen.items():
            ancestors = [m for m in before if all(any(part <= group for group in m) for part in fine)]
            found[fine] = q * sum(before[m] for m in ancestors)
        found[apart] = 1 - sum(weight for partition, weight in found.items() if partition != apart)
        total += costs[layer] * sum(len(partition) * weight for partition, weight in found.items())
        before = found
    return total


def recursion_over(space: Space, count: str = "macs") -> torch.nn.Module:
    return cost_term(space, {}, count, executed=ExpectedPartitions)  # type: ignore[arg-type]  # a word of three


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("tasks", [1, 2, 3, 4])
def test_recursion_is_the_papers(tasks: int, layers: int) -> None:
    """Exact for two tasks and for the first block; for three tasks or more never less than what the tree costs."""
    graph = blocks(layers)
    space = space_over(graph, tasks)
    p = np.random.default_rng(20 * tasks + layers).dirichlet(np.ones(tasks), size=(layers, tasks))
    policy = {f"t{t}": torch.tensor(p[:, t]) for t in range(tasks)}
    for count in ("macs", "parameters"):
        costs = [float(getattr(cost, count)) for name, cost in node_costs(graph).items() if name.startswith("block")]
        found = float(recursion_over(space, count).absolute(policy))
        assert found == pytest.approx(the_papers_recursion(p, costs), rel=1e-10)
        exact = over_partitions(p, costs)
        if tasks <= 2 or layers == 1:
            assert found == pytest.approx(exact, rel=1e-10)
        else:
            assert found > exact * (1 + 1e-3)


def test_recursion_pays_for_what_is_not_split() -> None:
    """One task of three parts in the first block, and all choose alike behind it: 2 + 2 + 2 blocks, not 2 + 3 + 3."""
    p = np.zeros((3, 3, 3))
    p[:, :, 0] = 1.0
    p[0, 2] = (0.0, 1.0, 0.0)
    assert brute_force(p, [1.0] * 3) == 6.0
    assert the_papers_recursion(p, [1.0] * 3) == 8.0
    space = space_over(blocks_of_one_width(3), 3)
    policy = {f"t{t}": torch.tensor(p[:, t]) for t in range(3)}
    assert float(recursion_over(space)(policy)) == pytest.approx(8 / 9)
    assert float(cost_term(space, {}, "macs")(policy)) == pytest.approx(6 / 9)


def test_uniform_choices_differ_by_six_parts() -> None:
    """By hand: of two blocks and three tasks 223/81 of the second run where the tree has 217/81."""
    space = space_over(blocks_of_one_width(2), 3)
    policy = {f"t{t}": torch.full((2, 3), 1 / 3) for t in range(3)}
    assert 6 * float(recursion_over(space)(policy)) == pytest.approx((171 + 223) / 81, rel=1e-6)
    assert 6 * float(cost_term(space, {}, "macs")(policy)) == pytest.approx((171 + 217) / 81, rel=1e-6)


def test_resource_loss_is_exact_unless_named() -> None:
    """By its name a search pays the paper's; both are differentiable."""
    setup = setup_for("chain")
    found = {}
    for resource in ("exact", "recursion"):
        method = method_for("bmtas", setup, None, resource=resource)
        generator = torch.Generator().manual_seed(3)
        shapes = {task: group.shape for task, group in method.model.groups_of_choices.items()}
        method.model.set_policy({task: torch.randn(shape, generator=generator) for task, shape in shapes.items()})
        term = method.model.terms(["cost"], {})["cost"]
        term.backward()
        assert all(float(logits.grad.abs().max()) > 1e-4 for logits in method.model.policies)
        found[resource] = float(term.detach())
    assert method_for("bmtas", setup, None).options.resource == "exact"
    assert found["recursion"] > found["exact"] + 0.005


def test_recursion_has_right_gradients() -> None:
    term = recursion_over(space_over(blocks(3), 3))
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=(3, 3))

    def cost(table: torch.Tensor) -> torch.Tensor:
        return term({f"t{t}": table[:, t] for t in range(3)})

    assert torch.autograd.gradcheck(cost, torch.tensor(p, requires_grad=True))
    certain = torch.eye(3, dtype=torch.float64).expand(3, 3, 3).clone().requires_grad_()
    cost(certain).backward()
    assert bool(certain.grad.isfinite().all())


def test_recursion_over_many_tasks_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="at most 7 tasks, not 8") as caught:
        recursion_over(space_over(blocks(1), MAX_TASKS + 1))
    assert caught.value.problems[0].place == "search.resource"


def test_uniform_choices_of_three_tasks() -> None:
    """Three tasks run 3 − 3·3^−l + 9^−l instances of block l: two of them still agree there with 3^−l."""
    p = np.full((3, 3, 3), 1 / 3)
    expected = sum(3 - 3 * 3.0**-depth + 9.0**-depth for depth in (1, 2, 3))
    assert brute_force(p, [1.0] * 3) == pytest.approx(expected, rel=1e-12)
    assert over_partitions(p, [1.0] * 3) == pytest.approx(expected, rel=1e-12)


def test_equal_logits_have_no_gradient_of_cost() -> None:
    """So without a warm-up only noise would ever make tasks differ."""
    method = method_for("bmtas", setup_for("chain"), None)
    method.model.terms(["cost"], {})["cost"].backward()
    assert all(float(logits.grad.abs().max()) < 1e-6 for logits in method.model.policies)


def test_warm_up_trains_own_instances(tmp_path: object) -> None:
    """Task t runs instance t of every block, so its loss moves no other one's weights."""
    setup = setup_for("residual")
    method = method_for("bmtas", setup, None)
    model = method.model.train()
    model.at(method._warm_up().moment(0))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for number, task in enumerate(setup.tasks):
        model.zero_grad(set_to_none=True)
        model(x, [task])[task].square().sum().backward()
        moved = [name for name, p in model.groups()["weights.backbone"].items() if p.grad is not None]
        assert moved
        assert {name.partition("@")[2] for name in moved} == {str(number) if number else ""}


def test_last_normalisation_of_a_block_is_plain() -> None:
    """Instances compete at equal scale; in the plan's own model scale and offset are there again."""
    setup = setup_for("residual")
    space = method_for("bmtas", setup, None).space
    frozen = plain_ends(space)
    assert set(frozen.values()) == {0.0, 1.0}
    with_plain, without = (method_for("bmtas", setup, None, plain_ends=plain).model for plain in (True, False))
    assert set(without.store.trainable()) - set(with_plain.store.trainable())
    for name, number in frozen.items():
        assert set(with_plain.store.tensor(name).flatten().tolist()) == {number}


def test_phases_are_the_papers() -> None:
    method = method_for("bmtas", setup_for("chain"), None, warm_up=7, steps=50, policy_fraction=0.25)
    warm, search = method._warm_up(), method._alternate()
    assert (warm.mode, warm.steps, warm.turns[0].joint) == ("own", 7, False)
    # One decay over all updates of weights: it begins with the search, it does not run out in the warm-up.
    assert {warm.rates(step)["weights"] for step in range(7)} == {search.rates(1)["weights"]} == {5e-3}
    policy, weights = search.turns
    assert (policy.data.share, weights.data.share) == ((0.0, 0.25), (0.25, 1.0))
    assert (policy.joint, weights.joint) == (True, False)
    assert (policy.statistics, weights.statistics) == ("hold", "update")
    assert policy.fresh and weights.fresh and search.reset_statistics
    assert (policy.steps, weights.steps) == (1, 3)  # a pass over a quarter and three quarters of four batches
    assert policy.terms == {"cost": 0.1} and not weights.terms
    assert [method.model.at(search.moment(step))["temperature"] for step in (0, 25, 50)] == pytest.approx(
        [5.0, 2.55, 0.1]
    )
    assert [mode for mode in method.model.modes if method.model.needs_total(mode)] == ["sample"]


def test_search_without_warm_up_or_cost() -> None:
    setup = setup_for("chain")
    seen = []

    class Watching(ShakenWork):
        def fit(self, name: str, model: object, phases: Sequence[object]) -> Mapping[str, Mapping[str, float]]:
            seen.extend(phases)
            return super().fit(name, model, phases)

    found = method_for("bmtas", setup, None, warm_up=0, cost_weight=0.0).find(Watching(setup))
    assert [phase.name for phase in seen] == ["search"]
    assert seen[0].turns[0].terms == {}
    assert not found.plan.tie and found.plan.granularity == "block"


def test_unknown_terms_are_refused() -> None:
    with pytest.raises(InvalidConfig, match='did you mean "cost"'):
        method_for("bmtas", setup_for("chain"), None).model.terms(["costs"], {})


def test_a_block_is_plain_wherever_it_ends() -> None:
    """A shortcut with a convolution is an end too, whichever of the two the file lists last."""
    frozen = plain_ends(method_for("bmtas", setup_for("residual"), None).space)
    assert {name.partition(".")[0] for name in frozen} == {"stem_bn", "a2_bn", "b2_bn", "b_short_bn"}


def test_a_block_ending_in_a_convolution_stays() -> None:
    """The normalisation of a pre-activation block is inside: the convolution behind it has a scale of its own."""
    b = GraphBuilder("pre-activation")
    x = conv(b, b.image("image", (3, 8, 8)), "stem", 4)
    y = b.node("Relu", [batch_norm(b, x, "inside_bn")], name="relu")
    graph = b.finish([b.node("Add", [x, conv(b, y, "last", 4)], name="add")])
    space = space_over(graph, 2)
    assert any("inside_bn" in unit.nodes for unit in space.table.units)
    assert plain_ends(space) == {}


@pytest.mark.parametrize("kind", ["argmax", "draw", "best"])
def test_one_task_has_nothing_to_search(kind: str) -> None:
    """It has one instance of every block: no logits that a step could move, and one plan to draw."""
    setup = setup_for("residual", ("depth",))
    asked: list[str] = []

    class Watching(ShakenWork):
        def fit(self, name: str, model: object, phases: Sequence[object]) -> Mapping[str, Mapping[str, float]]:
            asked.append(name)
            return super().fit(name, model, phases)

    found = method_for("bmtas", setup, None, sampling=Sampling(kind=kind)).find(Watching(setup))
    assert asked == [] and found.steps == 0
    assert {choice for row in found.plan.units.values() for choice in row.values()} == {0}
    assert found.policy.probabilities.tolist() == [[[1.0]]] * len(found.plan.units)


@pytest.mark.parametrize("mode", ["soft", "argmax"])
def test_model_without_choice_is_its_plan(mode: str) -> None:
    """Untied, so its weights are a column's own from the start; whatever goes on from it finds all of them."""
    setup = setup_for("residual", ("depth",))
    method = method_for("bmtas", setup, None)
    lowered = lower(method.space.plan({}), setup.backbone, setup.heads)
    twin = Twin(lowered.graph, weights=method.model.weights(lowered)).eval()
    model = method.model.eval()
    model.at(Moment("test", mode))
    with torch.no_grad():
        torch.testing.assert_close(model(image())["depth"], twin(image())["depth"])
