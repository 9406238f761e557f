"""Instances that choose what they read: cost and values are those of brute force, whatever was chosen."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from backbones import BACKBONES, conv, small_head, two_taps
from numpy.typing import NDArray

from trunkline.errors import InvalidConfig
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.cost import node_costs
from trunkline.graph.graph import Graph
from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.open_join import ChoiceId, OpenJoin
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.cost_term import cost_term
from trunkline.supermodel.expected_tree import MAX_TASKS
from trunkline.supermodel.workload import workload

pytestmark = pytest.mark.properties


def blocks(count: int, channels: int = 0) -> Graph:
    """A chain of blocks, of different costs or of equal width."""
    b = GraphBuilder("blocks")
    x = b.image("image", (3, 8, 8))
    for index in range(count):
        x = b.node("Relu", [conv(b, x, f"block{index}", channels or 3 + index)], name=f"relu{index}")
    return b.finish([x])


def space_over(graph: Graph, tasks: int) -> Space:
    nodes = [Option(number) for number in range(tasks)]
    names = [f"t{index}" for index in range(tasks)]
    return Space.over(Backbone(graph), names, "block", lambda unit, task: nodes, tie=False, chosen_by="node")


def probabilities(layers: int, tasks: int, seed: int = 0) -> NDArray[np.float64]:
    """Of each block, by reader, what it reads."""
    return np.random.default_rng(100 * seed + 10 * tasks + layers).dirichlet(np.ones(tasks), size=(layers, tasks))


def policy(p: NDArray[np.float64]) -> dict[str, torch.Tensor]:
    return {f"t{task}": torch.tensor(p[:, task]) for task in range(p.shape[1])}


def nodes_that_run(choices: NDArray[np.int64], tasks: Sequence[int]) -> list[set[int]]:
    """The nodes of each block that some of the tasks come by, from the leaves to the root."""
    found, readers = [], set(tasks)
    for row in choices[::-1]:
        readers = {int(row[reader]) for reader in readers}
        found.append(readers)
    return found[::-1]


def brute_force(p: NDArray[np.float64], costs: Sequence[float]) -> float:
    """Σ over everything that all nodes may choose, each by its probability, of the blocks that its tree runs."""
    layers, tasks, _ = p.shape
    total = 0.0
    for flat in itertools.product(range(tasks), repeat=layers * tasks):
        choices = np.array(flat).reshape(layers, tasks)
        weight = np.prod(np.take_along_axis(p, choices[..., None], axis=-1))
        total += weight * sum(c * len(ran) for c, ran in zip(costs, nodes_that_run(choices, range(tasks)), strict=True))
    return total


def over_sets(p: NDArray[np.float64], costs: Sequence[float]) -> float:
    """The same by the distribution of the set of nodes that run, block by block."""
    layers, tasks, _ = p.shape
    state, total = {frozenset(range(tasks)): 1.0}, 0.0
    for layer in reversed(range(layers)):
        new: dict[frozenset[int], float] = {}
        for readers, before in state.items():
            for read in itertools.product(range(tasks), repeat=len(readers)):
                weight = float(np.prod([p[layer, j, i] for j, i in zip(sorted(readers), read, strict=True)]))
                new[frozenset(read)] = new.get(frozenset(read), 0.0) + before * weight
        total += costs[layer] * sum(len(ran) * weight for ran, weight in new.items())
        state = new
    return total


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("tasks", [1, 2, 3, 4])
def test_expected_cost_is_the_brute_force_expectation(tasks: int, layers: int) -> None:
    graph = blocks(layers)
    space, p = space_over(graph, tasks), probabilities(layers, tasks)
    for count in ("macs", "parameters"):
        costs = [float(getattr(cost, count)) for name, cost in node_costs(graph).items() if name.startswith("block")]
        expected = over_sets(p, costs)
        if tasks <= 3 and layers <= 3:
            assert brute_force(p, costs) == pytest.approx(expected, rel=1e-12)
        term = cost_term(space, {}, count)
        assert float(term.absolute(policy(p))) == pytest.approx(expected, rel=1e-10)
        assert float(term(policy(p))) == pytest.approx(expected / (tasks * sum(costs)), rel=1e-10)
        assert sum(costs) * (1 - 1e-9) <= expected <= tasks * sum(costs) * (1 + 1e-9)


def test_uniform_choices_of_two_tasks() -> None:
    """Two ways meet at every block with ½ and never part again, so the last runs 3/2 nodes, the one before it 5/4."""
    p = np.full((2, 2, 2), 0.5)
    assert brute_force(p, [1.0, 0.0]) == pytest.approx(1.25)
    assert brute_force(p, [0.0, 1.0]) == pytest.approx(1.5)
    term = cost_term(space_over(blocks(2, channels=3), 2), {}, "macs")
    assert float(term(policy(p))) == pytest.approx((1.25 + 1.5) / 4)


def test_nodes_that_choose_pay_less_than_tasks() -> None:
    """What has met stays together, where tasks that choose for themselves part for good."""
    space = space_over(blocks(3, channels=3), 3)
    p = policy(np.full((3, 3, 3), 1 / 3))
    by_task = Space.over(space.backbone, space.tasks, "block", lambda unit, task: [Option(k) for k in range(3)])
    assert float(cost_term(space, {}, "macs")(p)) < float(cost_term(by_task, {}, "macs")(p))


@pytest.mark.parametrize("readers", range(4))
def test_heads_may_need_fewer_blocks(readers: int) -> None:
    """A head that reads the first of two maps does not run what lies behind it, but its way goes by there."""
    graph = two_taps()
    graph.model.graph.outputs[:] = list(reversed(graph.model.graph.outputs))
    graph = Graph(graph.model)  # the map of stride 2 is the last, which every head reads
    space = space_over(graph, 3)
    heads = dict.fromkeys(space.tasks[:readers], head_of_both(graph))
    assert len(workload(space, heads).units[-1].tasks) == readers
    units = len(space.table.units)
    term = cost_term(space, heads, "macs")
    rng = np.random.default_rng(readers)
    p = rng.dirichlet(np.ones(3), size=(units, 3))
    drawn = rng.integers(0, 3, size=(12, units, 3))
    for choices in drawn:
        plan = space.plan(picks_of(space, choices))
        real = executed_cost(plan, space.backbone, heads).backbone.macs
        assert float(term.absolute(policy(np.eye(3)[choices]))) == pytest.approx(real, rel=1e-9)
    assert 0 < float(term(policy(p))) <= 1


def head_of_both(graph: Graph) -> Graph:
    """A head that reads both maps."""
    b = GraphBuilder("both")
    maps = [b.image(f"features{i}", tuple(value.shape)[1:]) for i, value in enumerate(graph.outputs)]
    pooled = [b.node("GlobalAveragePool", [value], name=f"pool{i}") for i, value in enumerate(maps)]
    return b.finish([b.node("Concat", pooled, name="both", attributes={"axis": 1})])


def picks_of(space: Space, choices: NDArray[np.int64]) -> dict[ChoiceId, int]:
    names = space.table.names
    return {
        ChoiceId(name, task): int(choices[unit, number])
        for unit, name in enumerate(names)
        for number, task in enumerate(space.tasks)
    }


def test_the_cost_has_right_gradients() -> None:
    """Also where something is certain, and its logarithm would be infinite."""
    term = cost_term(space_over(blocks(3), 3), {}, "macs")
    p = torch.tensor(probabilities(3, 3), requires_grad=True)

    def cost(table: torch.Tensor) -> torch.Tensor:
        return term({f"t{task}": table[:, task] for task in range(3)})

    assert torch.autograd.gradcheck(cost, p)
    certain = torch.eye(3, dtype=torch.float64).expand(3, 3, 3).clone().requires_grad_()
    cost(certain).backward()
    assert bool(certain.grad.isfinite().all())


def test_too_many_tasks_are_refused() -> None:
    with pytest.raises(InvalidConfig, match=f"at most {MAX_TASKS} tasks") as caught:
        cost_term(space_over(blocks(1), MAX_TASKS + 1), {}, "macs")
    assert caught.value.problems[0].place == "search.cost"


def naive(model: ChoiceModel, d: Sequence[torch.Tensor], image: torch.Tensor) -> list[torch.Tensor]:
    """Every node of every block, one after the other, on the sum of what is before it, by weights ``d[l][j, i]``."""
    tasks = len(model.tasks)
    read = [image] * tasks
    for block, weights in enumerate(d):
        names = [f"block{block}.weight@{node}" if node else f"block{block}.weight" for node in range(tasks)]
        made = [F.relu(F.conv2d(read[node], model.store.tensor(name), padding=1)) for node, name in enumerate(names)]
        read = [sum(weights[j, i] * made[i] for i in range(tasks)) for j in range(tasks)]
    return read


def shaken(space: Space) -> ChoiceModel:
    model = ChoiceModel(space, {}, {}, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in model.store.weights().values():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return model


@pytest.mark.parametrize("mode", ["soft", "average"])
def test_mixed_nodes_are_the_naive_sum(mode: str) -> None:
    """Node j reads Σ_i d_ji · y_i of the block before, and the head of task j the same of the last."""
    model = shaken(space_over(blocks(3, channels=3), 3))
    p = probabilities(3, 3) if mode == "soft" else np.full((3, 3, 3), 1 / 3)
    if mode == "soft":
        model.set_policy({task: rows.log().float() for task, rows in policy(p).items()})
    model.at(Moment("test", mode))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = naive(model, torch.tensor(p).float(), x)
    found = model(x)
    for number, task in enumerate(model.tasks):
        torch.testing.assert_close(found[task], expected[number], rtol=1e-5, atol=1e-5)


def test_tasks_alone_compute_the_same() -> None:
    """Of one task's output the others' choices are part, so they are there when it runs alone."""
    model = shaken(space_over(blocks(3, channels=3), 3))
    model.set_policy({task: rows.log().float() for task, rows in policy(probabilities(3, 3)).items()})
    model.at(Moment("test", "soft"))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    together = model(x)
    for task in model.tasks:
        torch.testing.assert_close(model(x, [task])[task], together[task])


def test_every_head_uses_every_node() -> None:
    """As long as nothing is decided; its own last choice is a task's alone."""
    model = shaken(space_over(blocks(3, channels=3), 3))
    users = model.users()
    assert {users[name] for name in model.groups()["weights.backbone"]} == {frozenset(model.tasks)}
    # Of a task's choices all but the last are its node's.
    assert all(users[f"policy.{task}"] == set(model.tasks) for task in model.tasks)


def test_a_decided_space_is_one_of_tasks() -> None:
    """The instances on the way from a task's head: that node's choice, and not its own, decides what is before."""
    space = space_over(blocks(3), 3)
    # Rows are blocks. Head 0 reads node 2, which reads node 1, which reads node 0.
    picks = picks_of(space, np.array([[2, 0, 2], [2, 2, 1], [2, 1, 1]]))
    fixed = space.fixed(picks)
    assert fixed.chosen_by == "task" and not fixed.choices
    rows = {unit: [fixed.entries[unit][task][0].instance for task in space.tasks] for unit in space.table.names}
    assert rows == {"block0": [0, 2, 2], "block1": [1, 2, 2], "block2": [2, 1, 1]}


def test_other_spaces_have_no_nodes() -> None:
    backbone = Backbone(BACKBONES["chain"]())
    nodes = [Option(0), Option(1)]
    refused = "nodes choose among one instance a task of every block"
    with pytest.raises(ValueError, match=refused):
        Space.over(backbone, ("a", "b"), "operator", lambda unit, task: nodes, chosen_by="node")
    with pytest.raises(ValueError, match=refused):
        Space.over(backbone, ("a", "b"), "block", lambda unit, task: nodes[: 1 + task], chosen_by="node")
    site = backbone.table("block").units[0].output
    join = Join(name="j", kind="mix", settings={"starts": [1.0]}, site=site, task="a", reads=(Read.column(site, "b"),))
    with pytest.raises(ValueError, match=refused):
        Space.over(backbone, ("a", "b"), "block", lambda unit, task: nodes, joins=(OpenJoin(join),), chosen_by="node")


def test_a_head_reads_its_maps_on_one_way() -> None:
    """An earlier map goes along with the nodes that were chosen behind it, softly as in the plan."""
    graph = two_taps()
    backbone = Backbone(graph)
    nodes = [Option(0), Option(1)]
    space = Space.over(backbone, ("a", "b"), "block", lambda unit, task: nodes, tie=False, chosen_by="node")
    heads = {"a": small_head(graph, 1)}
    model = ChoiceModel(space, heads, {}, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in model.store.weights().values():
            tensor.add_(0.2 * torch.rand(tensor.shape, generator=generator))
    x = torch.randn(2, 3, 16, 16, generator=generator)
    seen = []
    for choices in np.random.default_rng(0).integers(0, 2, size=(16, len(space.table.units), 2)):
        model.set_policy({task: 1000.0 * torch.eye(2)[choices[:, number]] for number, task in enumerate(space.tasks)})
        outputs = []
        for mode in ("soft", "argmax"):
            model.at(Moment("test", mode))
            with torch.no_grad():
                outputs.append(model(x)["a"])
        torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
        seen.append(outputs[1])
    assert len({tuple(output.flatten().tolist()) for output in seen}) > 2
