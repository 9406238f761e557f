"""Learn-to-Branch against its text: phases, samples, the tree that is taken, and its extremes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from backbones import conv
from method_work import TASKS, ShakenWork, hard, image, method_for, setup_for

from trunkline.errors import InvalidConfig
from trunkline.graph.builder import GraphBuilder
from trunkline.pipeline.config import parse_config
from trunkline.recipe import Moment, Optimiser, Phase, Schedule
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared, independent
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.choices import gumbel_noise
from trunkline.supermodel.decision import Sampling
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.learn_to_branch import LearnToBranch
from trunkline.supermodel.methods.registry import method_named
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden


def made(setup: Setup, **options: object) -> LearnToBranch:
    method = method_for("learn-to-branch", setup, None, **options)
    assert isinstance(method, LearnToBranch)
    return method


def plain_setup(count: int = 3) -> Setup:
    """Blocks of one convolution each, and heads that output the last map."""
    b = GraphBuilder("plain")
    x = b.image("image", (3, 16, 16))
    for index in range(count):
        x = b.node("Relu", [conv(b, x, f"block{index}", 3)], name=f"relu{index}")
    graph = Backbone(b.finish([x]))
    return Setup(graph, {}, TASKS, dict.fromkeys(TASKS, "depth"), 3, Phase(steps=4), 4)


def shake(method: LearnToBranch) -> None:
    ShakenWork(method.setup).fit("search", method.model, [])


def groups(plan: SharingPlan) -> list[frozenset[frozenset[str]]]:
    """Which tasks are together at each block."""
    rows = plan.units.values()
    return [frozenset(frozenset(t for t in plan.tasks if row[t] == row[u]) for u in plan.tasks) for row in rows]


def picks_of(method: LearnToBranch, choices: Sequence[Sequence[int]]) -> dict[ChoiceId, int]:
    """Of each block, by reader, the node that is read."""
    names = method.space.table.names
    return {
        ChoiceId(name, task): int(number)
        for name, row in zip(names, choices, strict=True)
        for task, number in zip(TASKS, row, strict=True)
    }


def test_phases_are_warm_up_and_joint_search() -> None:
    """One turn moves weights and logits, each by the same optimiser."""
    optimiser, schedule = Optimiser(lr=3e-4, weight_decay=1e-5), Schedule(kind="cosine")
    options = {"optimiser": optimiser, "schedule": schedule, "loss_weights": {"depth": 0.5}}
    method = made(setup_for("chain"), warm_up=7, steps=50, cost_weight=0.25, **options)
    warm, search = method.phases()
    assert (warm.name, warm.mode, warm.steps) == ("warm-up", "average", 7)
    assert [move.group for turn in warm.turns for move in turn.moves] == ["weights"] and not warm.turns[0].terms
    assert (search.name, search.mode, search.steps, len(search.turns)) == ("search", "sample", 50, 1)
    assert [move.group for move in search.turns[0].moves] == ["weights", "policy"]
    assert {move.optimiser for phase in (warm, search) for turn in phase.turns for move in turn.moves} == {optimiser}
    # The rate decays over the search alone, of both alike.
    assert [move.schedule for move in search.turns[0].moves] == [schedule] * 2
    assert warm.turns[0].moves[0].schedule == Schedule()
    assert search.loss_weights == dict.fromkeys(TASKS, 0.5)  # by kind of task
    assert search.turns[0].joint and search.turns[0].terms == {"cost": 0.25}


def test_searching_needs_no_warm_up() -> None:
    phases = made(setup_for("chain"), warm_up=0).phases()
    assert [phase.name for phase in phases] == ["search"]
    assert phases[0].turns[0].terms == {}  # the method has no cost term of its own


def test_logits_may_learn_faster() -> None:
    (turn,) = made(setup_for("chain"), rate_factor=30.0).phases()[-1].turns
    weights, policy = (move.optimiser for move in turn.moves)
    assert (weights.lr, policy.lr) == pytest.approx((1e-3, 3e-2))
    assert policy.model_copy(update={"lr": weights.lr}) == weights


def test_temperature_falls_by_square_root() -> None:
    """From 10 to 0.7: three quarters of the fall of 1/τ² are three quarters of the steps."""
    method = made(setup_for("chain"), steps=400)
    (search,) = [phase for phase in method.phases() if phase.mode == "sample"]
    taus = [method.model.at(search.moment(step))["temperature"] for step in (0, 100, 200, 300, 400)]
    assert (taus[0], taus[-1]) == pytest.approx((10.0, 0.7))
    assert [taus[0] ** -2 + (taus[-1] ** -2 - taus[0] ** -2) * k / 4 for k in range(5)] == pytest.approx(
        [tau**-2 for tau in taus]
    )
    assert method.model.needs_total("sample") and not method.model.needs_total("average")


def naive(method: LearnToBranch, d: Sequence[torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """Every node on Σ_i d_ji · y_i, one after the other."""
    read, store = [x] * 3, method.model.store
    for block, weights in enumerate(d):
        kernels = [store.tensor(f"block{block}.weight{suffix}") for suffix in ("", "@1", "@2")]
        y = [F.relu(F.conv2d(value, kernel, padding=1)) for value, kernel in zip(read, kernels, strict=True)]
        read = [weights[j, 0] * y[0] + weights[j, 1] * y[1] + weights[j, 2] * y[2] for j in range(3)]
    return read


@pytest.mark.parametrize("straight_through", [True, False])
def test_a_sampled_step_is_the_formula(straight_through: bool) -> None:
    """Outputs and gradients of weights and logits, against a sum over all parents written out."""
    method = made(plain_setup(), straight_through=straight_through, steps=10)
    shake(method)
    model, moment = method.model, Moment("search", "sample", step=4, of=10)
    model.at(moment)
    theta = {task: logits.detach().clone().requires_grad_() for task, logits in zip(TASKS, model.policies, strict=True)}
    rows = []
    for task in TASKS:
        noise = gumbel_noise((3, 3), seed=3, step=4, stream_name=f"gumbel/search/forward/{task}").float()
        tau = 10.0 / (1 + ((10.0 / 0.7) ** 2 - 1) * 0.4) ** 0.5
        soft = torch.softmax((noise + torch.log_softmax(theta[task], -1)) / tau, -1)
        picked = F.one_hot(soft.argmax(-1), 3).float()
        rows.append(picked + (soft - soft.detach()) if straight_through else soft)
    d = torch.stack(rows, dim=1)  # [block, reader, parent]
    assert straight_through == bool(((d == 0) | (d == 1)).all())
    outputs, expected = model(image()), naive(method, d.unbind(0), image())
    for number, task in enumerate(TASKS):
        torch.testing.assert_close(outputs[task], expected[number])
    weights = list(model.groups()["weights.backbone"].values())
    mine = torch.autograd.grad(
        sum(outputs[task].square().mean() for task in TASKS), [*model.policies, *weights], allow_unused=True
    )
    theirs = torch.autograd.grad(
        sum(value.square().mean() for value in expected), [*theta.values(), *weights], allow_unused=True
    )
    assert any(float(gradient.abs().max()) > 0 for gradient in mine[:3])
    for found, wanted in zip(mine, theirs, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_sample_runs_as_its_plan() -> None:
    """A straight-through sample computes what the tree of its parents does: nothing of the others comes through."""
    method = made(plain_setup())
    shake(method)
    model = method.model
    model.at(Moment("search", "sample", step=5, of=9))
    with torch.no_grad():
        sampled, picks = model(image()), model.picks()
        model.set_policy({task: F.one_hot(model.option_weights(task).argmax(-1), 3).float() for task in TASKS})
        model.at(Moment("search", "argmax"))
        tree = model(image())
    assert model.picks() == picks
    for task in TASKS:
        torch.testing.assert_close(sampled[task], tree[task])


def test_warm_up_keeps_nodes_alike() -> None:
    """Nodes start equal and read the same mean, so those of a block get equal gradients; a sample parts them."""
    model = made(plain_setup()).model
    spread = {}
    for mode in ("average", "sample"):
        model.zero_grad(set_to_none=True)
        model.at(Moment("search", mode, step=3, of=10))
        sum(output.square().mean() for output in model(image()).values()).backward()
        gradients = [[model.store.tensor(f"block{b}.weight{s}").grad for s in ("", "@1", "@2")] for b in range(3)]
        filled = [[torch.zeros(1) if gradient is None else gradient for gradient in row] for row in gradients]
        spread[mode] = max(float((row[0] - other).abs().max()) for row in filled for other in row[1:])
        logits = [parameter.grad for parameter in model.policies]
        # While nodes are alike, it makes no difference to any loss who is read.
        assert all(gradient is None or float(gradient.abs().max()) < 1e-6 for gradient in logits)
    assert spread["average"] < 1e-7 < 1e-4 < spread["sample"]


def test_the_likeliest_parents_are_taken() -> None:
    """From the heads to the root, whatever nodes that no head comes by have chosen."""
    method = made(plain_setup())
    shake(method)
    plan = method.find(ShakenWork(method.setup, seed=9)).plan  # shakes the logits too
    logits = [parameter.detach().numpy() for parameter in method.model.policies]
    for number, task in enumerate(TASKS):
        node, way = number, []
        for block in (2, 1, 0):
            node = int(np.argmax(logits[node][block]))
            way.append(node)
        assert [plan.choice(f"block{block}", task) for block in (2, 1, 0)] == way
    assert not plan.tie and plan.granularity == "block" and not plan.joins and plan.method == "learn-to-branch"


def test_nodes_without_tasks_are_dropped() -> None:
    method = made(plain_setup())
    plan = method.space.plan(picks_of(method, [[2, 1, 0], [1, 1, 2], [2, 2, 0]]))
    # Heads of depth and normals read node 2, that of seg node 0; node 2 read node 2, node 0 node 1; of block 0 what
    # they chose: nodes 0 and 1. Node 1 of the last block, and what it reads, is nobody's.
    assert [[plan.choice(f"block{b}", task) for task in TASKS] for b in range(3)] == [[0, 0, 1], [2, 2, 1], [2, 2, 0]]
    stored = lower(plan, method.setup.backbone, {}).graph.initializers
    assert set(stored) == {f"block{b}.weight{s}" for b, s in itertools.product(range(3), ("", "@1", "@2"))} - {
        "block0.weight@2",
        "block1.weight",
        "block2.weight@1",
    }


def test_its_extremes_are_the_baselines() -> None:
    """Everybody reads the node of its own number: columns. Everybody reads node 0: one backbone."""
    method = made(plain_setup())
    backbone = method.setup.backbone
    own = method.space.plan(picks_of(method, [[0, 1, 2]] * 3))
    first = method.space.plan(picks_of(method, [[0, 0, 0]] * 3))
    assert own.units == independent(backbone, TASKS).units
    assert first.units == all_shared(backbone, TASKS).units


def test_all_trees_and_nothing_else() -> None:
    """All 3⁹ choices of three blocks are the 22 ways in which three tasks can part for good; BMTAS's plan each."""
    method = made(plain_setup())
    by_task = method_named("bmtas")(method.setup, method_named("bmtas").Options()).space
    seen: dict[tuple[frozenset[frozenset[str]], ...], SharingPlan] = {}
    for flat in itertools.product(range(3), repeat=9):
        fixed = method.space.fixed(picks_of(method, np.array(flat).reshape(3, 3).tolist()))
        rows = {
            unit: {task: options[0].instance for task, options in row.items()} for unit, row in fixed.entries.items()
        }
        parts = tuple(
            frozenset(frozenset(t for t in TASKS if row[t] == row[u]) for u in TASKS) for row in rows.values()
        )
        if parts in seen:
            continue
        plan = method.space.plan(picks_of(method, np.array(flat).reshape(3, 3).tolist()))
        same = by_task.plan({ChoiceId(unit, task): rows[unit][task] for unit in rows for task in TASKS})
        assert plan == same
        seen[parts] = plan
    # Refinements of a partition: 4 without a pair, and 3 pairs times 6 places of the stretch in which it is one.
    assert len(seen) == 22
    for parts in seen:
        assert [len(row) for row in parts] == sorted(len(row) for row in parts)
        for before, behind in itertools.pairwise(parts):
            assert all(any(group <= whole for whole in before) for group in behind)


@pytest.mark.parametrize("backbone", ["chain", "residual", "mobile", "taps"])
def test_nodes_never_get_fewer_with_depth(backbone: str) -> None:
    """On any network, and a tree has no clones: who runs an instance runs it on one input."""
    method = made(setup_for(backbone))
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        plan = method.space.plan(hard(method.model, generator, pinned=False))
        counts = [len(row) for row in groups(plan)]
        assert counts == sorted(counts)
        tied = plan.model_copy(update={"tie": True})
        names = [[node.name for node in lower(p, method.setup.backbone, {}).graph.nodes] for p in (plan, tied)]
        assert names[0] == names[1]


def test_the_tree_goes_on_from_its_nodes() -> None:
    """By origin: instance k of a block starts as node k ended, with its running statistics."""
    method = made(setup_for("residual"))
    found = method.find(ShakenWork(method.setup))
    model = method.model.train()
    model.at(Moment("search", "soft"))
    with torch.no_grad():
        model(image(4))  # statistics of every node differ
    lowered = lower(found.plan, method.setup.backbone, method.setup.heads)
    twin = Twin(lowered.graph, weights=found.start(lowered)).eval()
    model.eval().at(Moment("search", "argmax"))
    with torch.no_grad():
        for task, output in model(image()).items():
            torch.testing.assert_close(twin(image())[task], output)
    assert not found.goes_on and found.phases is None  # from scratch, unless the pipeline says otherwise


@pytest.mark.parametrize("kind", ["argmax", "draw", "best"])
def test_one_task_has_nothing_to_search(kind: str) -> None:
    asked: list[str] = []

    class Watching(ShakenWork):
        def fit(self, name: str, model: object, phases: Sequence[object]) -> Mapping[str, Mapping[str, float]]:
            asked.append(name)
            return super().fit(name, model, phases)

    setup = setup_for("residual", ("depth",))
    found = made(setup, sampling=Sampling(kind=kind)).find(Watching(setup))
    assert asked == [] and found.steps == 0
    assert {choice for row in found.plan.units.values() for choice in row.values()} == {0}


def test_misspelt_options_are_guessed() -> None:
    with pytest.raises(InvalidConfig, match="warm_up"):
        parse_config({"search": {"method": "learn-to-branch", "warmup": 3}})
