"""MTL-NAS: its edges and their relaxations against the text, pruning by brute force, its eight combinations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import conv
from method_work import TASKS, THREE, ShakenWork, StillWork, image, method_for, setup_for
from plans import light_heads
from pydantic import ValidationError
from soft_methods import found_for, single_task, started
from three_tasks import run_three

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.export.exporter import export_model
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import shape_of
from trunkline.recipe import Moment, Move, Optimiser, Phase, Turn
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Join, Read
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.origin import BackboneWeight, FragmentWeight
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.decision import Sampling
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.mtl_nas import MTLNAS, MTLNASModel, MTLNASOptions
from trunkline.supermodel.methods.stages import block_ends, stage_ends
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden

TWO = ("depth", "seg")
OFF, ON = 0, 1


def vgg_setup(tasks: Sequence[str] = TWO, **train: Any) -> Setup:
    """Four convolutions of one shape, a pooling, and two of another: as VGG16 has stages."""
    b = GraphBuilder("vgg")
    x = b.image("image", (3, 12, 12))
    for number in range(4):
        x = b.node("Relu", [conv(b, x, f"a{number}", 4, bias=True)], name=f"a{number}_relu")
    x = b.node("Relu", [conv(b, x, "b0", 6, stride=2, bias=True)], name="b0_relu")
    x = b.node("Relu", [conv(b, x, "b1", 6, bias=True)], name="b1_relu")
    graph = b.finish([x])
    heads = light_heads(graph)
    heads = {task: heads[task] for task in tasks}
    return Setup(Backbone(graph), heads, tuple(tasks), dict.fromkeys(tasks, "depth"), 3, Phase(steps=4, **train), 4)


def method_of(setup: Setup, **options: Any) -> MTLNAS:
    return MTLNAS(setup, MTLNASOptions(**options))


def shaken_model(method: MTLNAS, seed: int = 0) -> MTLNASModel:
    """Its supermodel with weights that hide nothing, and logits that are anything."""
    ShakenWork(method.setup, seed).fit("search", method.model, [])
    return method.model.eval()


def image_for(setup: Setup) -> torch.Tensor:
    size = shape_of(setup.backbone.graph.input)
    return torch.randn(2, *size[1:], generator=torch.Generator().manual_seed(1))


def picks_of(method: MTLNAS, on: Mapping[ChoiceId, bool]) -> dict[ChoiceId, int]:
    return {choice: int(on[choice]) for choice in method.space.choices}


def masked_outputs(
    method: MTLNAS, model: MTLNASModel, shares: Mapping[ChoiceId, float], *, picture: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The plan with all edges, the columns of every W times what its edge counts: W·(a·y) is (a·W)·y."""
    lowered = lower(method.columns, method.setup.backbone, method.setup.heads)
    content = {key: tensor.clone() for key, tensor in model.weights(lowered).items()}
    for choice, share in shares.items():
        content[f"join.{choice.place}.weight{choice.read}"] *= share
    twin = Twin(lowered.graph).eval()
    twin.load_weights(content)
    with torch.no_grad():
        return twin(picture)


def close(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    assert set(ours) == set(theirs)
    for task, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[task], rtol=1e-5, atol=1e-5)


# What edges there are.


@pytest.mark.parametrize("window", [1, 2, 3, 9])
@pytest.mark.parametrize("backbone", [*THREE, "vgg"])
def test_edges_are_those_of_the_text(backbone: str, window: int) -> None:
    """Into block i of a column: its own map, and x_j of all others, j ≤ i, i − j < window, of one shape."""
    setup = vgg_setup(TASKS) if backbone == "vgg" else setup_for(backbone)
    shapes, ends = setup.backbone.shapes, block_ends(setup.backbone)
    joins = {(join.site, join.task): join for join in method_of(setup, window=window).joins()}
    assert set(joins) == set(itertools.product(ends, TASKS))
    for (site, task), join in joins.items():
        i = ends.index(site)
        expected = {
            (ends[j], other)
            for j in range(len(ends))
            for other in TASKS
            if 0 <= i - j < window and shapes[ends[j]] == shapes[site] and other != task
        }
        own, *edges = join.reads
        assert own == Read.column(site, task)
        assert len(edges) == len(expected)
        assert {(read.at, read.task) for read in edges} == expected


def test_vgg16_has_the_papers_search_space() -> None:
    """Of 13 convolutions in stages of 2, 2, 3, 3, 3, edges lead into each from up to three of the other column."""
    stages = (2, 2, 3, 3, 3)
    b = GraphBuilder("vgg16")
    x = b.image("image", (3, 32, 32))
    for number, layers in enumerate(stages):
        for layer in range(layers):
            stride = 2 if number and not layer else 1
            x = b.node("Relu", [conv(b, x, f"c{number}_{layer}", 2 + number, stride=stride)], name=f"r{number}_{layer}")
    graph = b.finish([x])
    setup = Setup(Backbone(graph), light_heads(graph, TWO), TWO, dict.fromkeys(TWO, "depth"), 0, Phase(steps=1), 1)
    joins = method_of(setup).joins()
    assert [len(join.reads) - 1 for join in joins if join.task == "seg"] == [1, 2, 1, 2, 1, 2, 3, 1, 2, 3, 1, 2, 3]


def test_edges_read_what_blocks_left() -> None:
    """Not what projections have made of it: a change of another column's projection does not reach an edge's source."""
    method = method_of(vgg_setup())
    model = shaken_model(method)
    lowered = lower(method.columns, method.setup.backbone, method.setup.heads)
    twin = Twin(lowered.graph).eval()
    twin.load_weights(model.weights(lowered))
    picture = image_for(method.setup)
    maps = "join.a1_relu.depth.maps"
    with torch.no_grad():
        before = twin.run_values(picture)[maps]
        twin.weights()["join.a0_relu.seg.weight0"].mul_(3)  # column seg behind a0, and with it a1's map
        after = twin.run_values(picture)[maps]
    own, near, far = (slice(4 * k, 4 * k + 4) for k in range(3))
    assert torch.equal(before[:, own], after[:, own])
    assert not torch.equal(before[:, near], after[:, near])
    assert torch.equal(before[:, far], after[:, far])


@pytest.mark.parametrize(
    ("options", "tasks", "own"),
    [
        ({}, TWO, 1.0),
        ({}, TASKS, 1.0),
        ({"alpha": 0.9}, TASKS, 0.9),
        ({"supernet": "mtl-nas"}, TWO, 0.9),
        ({"supernet": "mtl-nas"}, TASKS, 0.8),
        ({"supernet": "nddr"}, TWO, 0.9),
    ],
)
def test_start_of_the_projections(options: dict[str, Any], tasks: tuple[str, ...], own: float) -> None:
    """Own columns as so many times the identity, the rest in equal parts on each edge; no edge counts in a search."""
    for join in method_of(vgg_setup(tasks), **options).joins():
        first, *others = join.settings["starts"]
        assert first == own
        assert others == pytest.approx([(1 - own) / len(others)] * len(others))


# What edges count while they are open.


@pytest.mark.parametrize("backbone", [*THREE, "vgg"])
def test_deterministic_edges_count_by_probability(backbone: str) -> None:
    """σ(α) times the other column's map."""
    setup = vgg_setup(TASKS) if backbone == "vgg" else setup_for(backbone)
    method = method_of(setup, relaxation="deterministic")
    model = shaken_model(method)
    model.at(method.search_phase().moment(0))
    shares = {choice: float(torch.sigmoid(alpha)) for choice, alpha in alphas(model).items()}
    assert max(shares.values()) > 0.8 and min(shares.values()) < 0.2
    picture = image_for(setup)
    with torch.no_grad():
        close(model(picture), masked_outputs(method, model, shares, picture=picture))


def test_stochastic_edges_are_relaxed_bernoullis() -> None:
    """σ((α + L)/τ) of logistic noise L, with τ = (1 − s/S)²; both options' noise is Gumbel's."""
    method = method_of(vgg_setup(), relaxation="stochastic", steps=8)
    model = shaken_model(method)
    phase = method.search_phase()
    picture = image_for(method.setup)
    for step in (0, 4, 7):
        moment = phase.moment(step)
        model.at(moment)
        shares: dict[ChoiceId, float] = {}
        for name, group in model.groups_of_choices.items():
            rows = model.option_weights(name).detach().double()
            for choice, (off, on) in zip(group.choices, rows.tolist(), strict=True):
                assert off + on == pytest.approx(1)
                shares[choice] = on
        tau = (1 - step / 8) ** 2
        assert model.relaxation.scalars(moment) == {"temperature": pytest.approx(tau)}
        # Backed out of the sample, the noise is none of τ's or α's: it is of the step and the edge.
        if step == 0:
            learned = alphas(model)
            logistic = [math.log(on / (1 - on)) * tau - float(learned[choice]) for choice, on in shares.items()]
            assert len({round(noise, 4) for noise in logistic}) == len(logistic)
            before = dict(shares)
            model.set_policy({name: torch.zeros(group.shape) for name, group in model.groups_of_choices.items()})
            for name, group in model.groups_of_choices.items():
                for choice, row in zip(group.choices, model.option_weights(name).tolist(), strict=True):
                    noise = math.log(row[ON] / row[OFF]) * tau
                    assert noise == pytest.approx(logistic[list(before).index(choice)], abs=1e-3)
            shaken_again(model)
            continue
        with torch.no_grad():
            close(model(picture), masked_outputs(method, model, shares, picture=picture))


def shaken_again(model: MTLNASModel) -> None:
    generator = torch.Generator().manual_seed(9)
    model.set_policy({n: torch.randn(g.shape, generator=generator) for n, g in model.groups_of_choices.items()})


def test_weights_may_learn_under_whole_edges() -> None:
    """``hard_weights``, the release's stochastic discretisation: 0 or 1 for the weights, soft for the logits."""
    for relaxation in ("deterministic", "stochastic"):
        method = method_of(vgg_setup(), relaxation=relaxation, hard_weights=True, steps=8)
        model = shaken_model(method)
        phase = method.search_phase()
        seen = {"policy": set(), "weights": set()}
        for step in range(6):
            model.at(phase.moment(step))
            for name in model.groups_of_choices:
                seen[phase.turn_at(step).name] |= set(model.option_weights(name)[:, ON].tolist())
        assert seen["weights"] == {0.0, 1.0}
        assert len(seen["policy"]) > 10


def alphas(model: MTLNASModel) -> dict[ChoiceId, torch.Tensor]:
    """Every edge's logit."""
    found = {}
    for (_, group), logits in zip(model.groups_of_choices.items(), model.policies, strict=True):
        found.update(zip(group.choices, logits.detach()[:, 0], strict=True))
    return found


def test_the_logits_step_is_that_of_darts() -> None:
    """Without entropy: dL/dα = σ'(α)·⟨dL/dW', W⟩ of the network whose edges' columns are W' = σ(α)·W."""
    method = method_of(vgg_setup(), relaxation="deterministic", entropy=0.0)
    model = shaken_model(method)
    assert not method.search_phase().turns[0].terms
    model.at(method.search_phase().moment(0))
    picture = image_for(method.setup)
    sum(tensor.square().mean() for tensor in model(picture).values()).backward()
    lowered = lower(method.columns, method.setup.backbone, method.setup.heads)
    plain = {key: tensor.clone() for key, tensor in model.weights(lowered).items()}
    scaled = dict(plain)
    for choice, alpha in alphas(model).items():
        key = f"join.{choice.place}.weight{choice.read}"
        scaled[key] = torch.sigmoid(alpha) * plain[key]
    twin = Twin(lowered.graph).eval()
    twin.load_weights(scaled)
    sum(tensor.square().mean() for tensor in twin(picture).values()).backward()
    gradients = {key: parameter.grad for key, parameter in twin.trainable().items()}
    seen = 0
    for (_, group), logits in zip(model.groups_of_choices.items(), model.policies, strict=True):
        for choice, alpha, ours in zip(group.choices, logits.detach()[:, 0], logits.grad[:, 0], strict=True):
            key = f"join.{choice.place}.weight{choice.read}"
            share = torch.sigmoid(alpha)
            theirs = share * (1 - share) * (gradients[key] * plain[key]).sum()
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
            mine = model.store.trainable()[key].grad
            torch.testing.assert_close(mine, share * gradients[key], rtol=1e-4, atol=1e-6)
            seen += float(theirs.abs()) > 1e-4
    assert seen > 5


# The entropy.


def test_entropy_is_that_of_bernoullis() -> None:
    """−p ln p − (1−p) ln(1−p), the mean over edges, then over columns; ln 2 at the start, 0 when all is decided."""
    method = method_of(vgg_setup(TASKS))
    model = method.model
    assert float(model.entropy().detach()) == pytest.approx(math.log(2))
    shaken_again(model)
    columns = []
    for logits in model.policies:
        p = torch.sigmoid(logits.detach().double())
        columns.append(float((-p * p.log() - (1 - p) * (1 - p).log()).mean()))
    assert float(model.entropy().detach()) == pytest.approx(sum(columns) / len(columns), rel=1e-5)
    for sure in (40.0, -40.0, 200.0):
        model.set_policy({name: torch.full(group.shape, sure) for name, group in model.groups_of_choices.items()})
        model.zero_grad()
        entropy = model.entropy()
        entropy.backward()
        assert float(entropy.detach()) == pytest.approx(0, abs=1e-6)
        assert all(torch.isfinite(logits.grad).all() for logits in model.policies)


def test_entropy_drives_edges_apart() -> None:
    """Its gradient is −α·σ(α)·(1−σ(α)): nothing at 0, outwards everywhere else."""
    model = method_of(vgg_setup()).model
    shaken_again(model)
    model.entropy().backward()
    for logits in model.policies:
        p = torch.sigmoid(logits.detach())
        expected = -logits.detach() * p * (1 - p) / logits.numel() / len(model.policies)
        torch.testing.assert_close(logits.grad, expected, rtol=1e-4, atol=1e-7)


# What is cut.


def test_every_subset_of_edges_is_cut_exactly() -> None:
    """All 2^n ways into one block, by brute force: the sliced convolution computes what the masked one does."""
    method = method_of(vgg_setup())
    model = shaken_model(method)
    picture = image_for(method.setup)
    target = [choice for choice in method.space.choices if choice.place == "a2_relu.depth"]
    assert len(target) == 3
    others = {choice: number % 2 == 0 for number, choice in enumerate(method.space.choices)}
    kernels = set()
    for bits in itertools.product([False, True], repeat=len(target)):
        on = {**others, **dict(zip(target, bits, strict=True))}
        plan = method.space.plan(picks_of(method, on))
        lowered = lower(plan, method.setup.backbone, method.setup.heads)
        twin = Twin(lowered.graph).eval()
        twin.load_weights(model.weights(lowered))
        with torch.no_grad():
            cut = twin(picture)
        close(cut, masked_outputs(method, model, {c: float(kept) for c, kept in on.items()}, picture=picture))
        convolution = lowered.graph.node("join.a2_relu.depth.conv")
        kernels.add(shape_of(convolution.inputs[1])[:2])
        assert shape_of(convolution.inputs[1])[1] == 4 * (1 + sum(bits))
    assert kernels == {(4, 4), (4, 8), (4, 12), (4, 16)}


@pytest.mark.parametrize("backbone", [*THREE, "vgg"])
def test_dropped_edges_leave_nothing_in_the_file(backbone: str, tmp_path: Path) -> None:
    """Of each projection C·C·h·w multiply-accumulates for the own map and each kept edge, C·C weights, no more."""
    setup = vgg_setup(TASKS) if backbone == "vgg" else setup_for(backbone)
    found = method_of(setup).find(ShakenWork(setup))
    kept = {join.name: len(join.taken) for join in found.plan.joins}
    assert {len(join.reads) for join in found.plan.joins} != set(kept.values()), "something is dropped"
    lowered = lower(found.plan, setup.backbone, setup.heads)
    weights = {key: tensor.numpy() for key, tensor in found.start(lowered).items()}
    exported = export_model(lowered.graph, weights, tmp_path / "model.onnx", parity_inputs=4)
    assert exported.parity.passed
    cost = executed_cost(found.plan, setup.backbone, setup.heads)
    macs = parameters = 0
    for join in found.plan.joins:
        channels, height, width = setup.backbone.shapes[join.site][1:]
        macs += channels**2 * height * width * kept[join.name]
        parameters += channels**2 * kept[join.name] + 2 * channels  # and the normalisation's
    assert cost.backbone.macs - cost.independent_backbone.macs == macs
    assert cost.backbone.parameters - cost.independent_backbone.parameters == parameters
    assert count_file(tmp_path / "model.onnx").macs == exported.macs == cost.total.macs


def test_no_edges_is_a_chain_of_projections() -> None:
    """x ← act(BN(W x)) of the own map alone, as a single column of NDDR-CNN; no task hears of another."""
    method = method_of(vgg_setup())
    model = shaken_model(method)
    plan = method.space.plan(dict.fromkeys(method.space.choices, OFF))
    assert all(join.taken == {0: Read.column(join.site, join.task)} for join in plan.joins)
    lowered = lower(plan, method.setup.backbone, method.setup.heads)
    twin = Twin(lowered.graph).eval()
    assert {component.tasks for component in twin.components()} == {("depth",), ("seg",)}
    twin.load_weights(model.weights(lowered))
    with torch.no_grad():
        values = twin.run_values(image_for(method.setup))
    w = twin.weights()
    for join in plan.joins:
        node = lowered.graph.node(f"join.{join.name}.conv")
        x = values[node.inputs[0].name]
        total = torch.einsum("oc,nchw->nohw", w[f"join.{join.name}.weight0"][:, :, 0, 0], x)
        scale, bias = (w[f"join.{join.name}.norm.{key}"][:, None, None] for key in ("scale", "bias"))
        mean, var = (w[f"join.{join.name}.norm.{key}~{join.name}"][:, None, None] for key in ("mean", "var"))
        expected = (scale * (total - mean) / (var + 1e-3).sqrt() + bias).clamp(min=0)
        torch.testing.assert_close(values[f"join.{join.name}.act"], expected, rtol=1e-4, atol=1e-5)


# How it is decided.


@pytest.mark.parametrize("entropy", [0.0, 10.0])
@pytest.mark.parametrize("discretisation", ["argmax", "draw"])
@pytest.mark.parametrize("relaxation", ["deterministic", "stochastic"])
def test_the_eight_combinations(relaxation: str, discretisation: str, entropy: float) -> None:
    """Each searches under its own relaxation, with its own terms, and keeps α > 0, or what it draws."""
    setup = vgg_setup(TASKS)
    sampling = Sampling(kind=discretisation)
    method = method_of(setup, relaxation=relaxation, sampling=sampling, entropy=entropy, steps=10)
    found = method.find(ShakenWork(setup))
    (phase,) = [method.search_phase()]
    assert phase.turns[0].terms == ({"entropy": 10.0} if entropy else {})
    method.model.at(phase.moment(0))
    assert bool(method.model.relaxation.scalars(phase.moment(0))) == (relaxation == "stochastic")
    on = {choice: alpha > 0 for choice, alpha in alphas(method.model).items()}
    by_sign = method.space.plan(picks_of(method, on))
    assert (found.plan.joins == by_sign.joins) == (discretisation == "argmax")
    assert found.goes_on and found.phases == ()
    assert found.steps == 4 + 5  # of the single-task models, and of the weights in the search


def test_draws_are_bernoullis_of_the_edges() -> None:
    """Over many seeds edges are kept as often as σ(α) says in all; decided ones always, or never."""
    setup, seeds = vgg_setup(), 30
    method = method_of(setup, window=1)
    shaken_again(method.model)
    method.model.policies[0].data[0, 0], method.model.policies[0].data[1, 0] = 60.0, -60.0
    counts = dict.fromkeys(method.space.choices, 0)
    for seed in range(seeds):
        method.options = MTLNASOptions(window=1, sampling=Sampling(kind="draw", seed=seed))
        plan = method.find(Untouched(setup)).plan
        left_out = {(join.name, number) for join in plan.joins for number in join.left_out}
        for choice in counts:
            counts[choice] += (choice.place, choice.read) not in left_out
    p = {choice: float(torch.sigmoid(alpha)) for choice, alpha in alphas(method.model).items()}
    spread = math.sqrt(seeds * sum(share * (1 - share) for share in p.values()))
    assert abs(sum(counts.values()) - seeds * sum(p.values())) < 4.5 * spread
    sure = {choice: share for choice, share in p.items() if share in (0.0, 1.0) or share < 1e-20}
    assert len(sure) == 2 and all(counts[choice] == seeds * round(share) for choice, share in sure.items())
    likely, unlikely = max(set(p) - set(sure), key=p.__getitem__), min(set(p) - set(sure), key=p.__getitem__)
    assert counts[likely] > counts[unlikely]


class Untouched(StillWork):
    """Work that trains nothing at all: single-task models are not looked at."""

    def train(self, *arguments: Any, **named: Any) -> Any:
        class Empty:
            def start(self, lowered: Any) -> dict[str, torch.Tensor]:
                return {}

        return Empty()


def test_alpha_of_zero_is_off() -> None:
    """As in the release: a search that has learned nothing keeps nothing."""
    setup = vgg_setup()
    plan = method_of(setup).find(StillWork(setup)).plan
    assert all(len(join.taken) == 1 for join in plan.joins)


def test_another_plan_is_taken_without_a_search() -> None:
    """How edges are taken from what was learned may change; what the search is made of may not."""
    decisive = MTLNAS.decisive(MTLNASOptions())
    assert "sampling" not in decisive
    assert {"entropy", "relaxation", "steps", "window", "cost_weight"} <= set(decisive)


def test_a_budget_bounds_the_edges() -> None:
    """The first draw inside it is taken; none is where columns alone are dearer."""
    setup = vgg_setup(TASKS)
    # A little less than what the policy keeps on the average: some of 64 draws do.
    mean = method_of(setup).model
    ShakenWork(setup).fit("search", mean, [])
    most = float(mean.expected_cost(mean.probabilities()).detach()) - 0.01
    plans = []
    for seed in range(4):
        method = method_of(setup, sampling=Sampling(kind="draw", seed=seed, max_macs=most))
        plans.append(method.find(ShakenWork(setup)).plan)
    shares = [executed_cost(plan, setup.backbone, setup.heads).relative[0] for plan in plans]
    assert all(1 < share <= most for share in shares) and len(set(shares)) > 1
    with pytest.raises(InvalidConfig, match="inside the budget"):
        method_of(setup, sampling=Sampling(max_macs=1.0)).find(ShakenWork(setup))


# How it is trained.


def test_the_search_takes_turns() -> None:
    """A step of the logits, one of the weights; each on its half, halved anew in every pass; so many as [train]."""
    move = Move(optimiser=Optimiser(kind="sgd", lr=0.01), per_user=True)
    setup = vgg_setup(turns=(Turn(moves=(move,), joint=False),), clip_norm=3.0)
    phase = method_of(setup, head_rate_factor=10.0, cost_weight=0.5).search_phase()
    policy, weights = phase.turns
    assert (policy.name, policy.steps, weights.name, weights.steps) == ("policy", 1, "weights", 1)
    assert policy.data.share == (0.0, 0.5) and weights.data.share == (0.5, 1.0)
    assert policy.data.remix and weights.data.remix
    assert policy.terms == {"entropy": 10.0, "cost": 0.5} and not weights.terms
    assert policy.joint and not weights.joint and phase.clip_norm == 3.0
    assert phase.steps == 8 and phase.turn_steps("weights") == 4
    assert policy.moves[0].optimiser == Optimiser(lr=1e-2, betas=(0.5, 0.999), weight_decay=1e-3)
    assert phase.rates(1) == {
        "weights.backbone": pytest.approx(0.01),
        "weights.heads": pytest.approx(0.1),
        "weights.joins": pytest.approx(1.0),
    }
    assert not method_of(setup, remix=False).search_phase().turns[0].data.remix
    assert method_of(setup, steps=6).search_phase().steps == 6


@pytest.mark.parametrize("factor", [1.0, 10.0, 100.0, 1000.0])
def test_learning_rate_scales(factor: float) -> None:
    """Of the supplement's Table S2."""
    rates = method_of(vgg_setup(), rate_factor=factor).search_phase().rates(1)
    assert rates["weights.joins"] == pytest.approx(factor * rates["weights.backbone"])


def test_the_search_goes_on_from_single_tasks() -> None:
    """Columns and heads of the supermodel are those of the trained single-task models; projections start as stated."""
    setup = vgg_setup(TASKS)
    method = method_of(setup, normalise=False)
    before = {key: tensor.clone() for key, tensor in method.model.store.weights().items()}
    found = method.find(StillWork(setup))
    alone = ShakenWork(setup).train("single", method.columns.model_copy(update={"joins": ()}))
    lowered = lower(found.plan, setup.backbone, setup.heads)
    taken = found.start(lowered)
    for key, content in alone.weights.items():
        assert torch.equal(taken[key], torch.from_numpy(content)), key
    for key, content in method.model.store.weights().items():
        assert torch.equal(content, before[key]) == key.startswith("join."), key


def test_the_found_model_starts_as_the_search_ended() -> None:
    """Evaluated in the search, the pruned supermodel computes what is delivered."""
    setup = vgg_setup(TASKS)
    method = method_of(setup)
    found = method.find(ShakenWork(setup))
    lowered = lower(found.plan, setup.backbone, setup.heads)
    twin = Twin(lowered.graph).eval()
    twin.load_weights(found.start(lowered))
    model = method.model.eval()
    model.at(method.search_phase().evaluation(8))
    with torch.no_grad():
        close(model(image_for(setup)), twin(image_for(setup)))


# Supernets.


@pytest.mark.parametrize("backbone", THREE)
def test_the_supernet_keeps_all_edges(backbone: str) -> None:
    """One joint training of the whole search space, from single-task models; nothing is searched."""
    setup, found = found_for("mtl-nas", backbone, supernet="mtl-nas")
    assert all(not join.left_out for join in found.plan.joins)
    searched = method_for("mtl-nas", setup, None)
    assert [join.reads for join in found.plan.joins] == [join.reads for join in searched.joins()]
    assert found.goes_on and found.policy is None
    assert [phase.name for phase in found.phases] == ["joint"]
    assert found.phases[0].rates(0)["weights.joins"] == pytest.approx(0.1)


@pytest.mark.parametrize("backbone", THREE)
def test_the_nddr_supernet_is_nddr_everywhere(backbone: str) -> None:
    """Edges between equal blocks only: NDDR-CNN behind every block, own maps first."""
    setup, found = found_for("mtl-nas", backbone, supernet="nddr")
    _, reference = found_for("nddr", backbone, sites="blocks")
    for ours, theirs in zip(found.plan.joins, reference.plan.joins, strict=True):
        assert (ours.name, ours.site, ours.task) == (theirs.name, theirs.site, theirs.task)
        assert set(ours.reads) == set(theirs.reads) and ours.reads[0].task == ours.task
        by_task = {read.task: start for read, start in zip(theirs.reads, theirs.settings["starts"], strict=True)}
        assert ours.settings["starts"] == pytest.approx([by_task[read.task] for read in ours.reads])
        assert {**ours.settings, "starts": 0} == {**theirs.settings, "starts": 0}
    costs = [executed_cost(each.plan, setup.backbone, setup.heads) for each in (found, reference)]
    assert costs[0] == costs[1]
    for task, ours in started_outputs(setup, found).items():
        torch.testing.assert_close(ours, started_outputs(setup, reference)[task], rtol=1e-5, atol=1e-5)


def started_outputs(setup: Setup, found: Any) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return started(setup, found)(image())


def test_identity_projections_are_single_task() -> None:
    """A supernet with α = 1 and no BatchNormalization passes every column's own map on, bit for bit."""
    setup, found = found_for("mtl-nas", "residual", supernet="mtl-nas", alpha=1.0, normalise=False)
    alone = single_task(setup)
    assert all(torch.equal(alone[task], tensor) for task, tensor in started_outputs(setup, found).items())


def test_sites_are_blocks_or_stages() -> None:
    setup = vgg_setup()
    assert {join.site for join in method_of(setup).joins()} == set(block_ends(setup.backbone))
    stages = method_of(setup, sites="stages").joins()
    assert {join.site for join in stages} == set(stage_ends(setup.backbone))
    assert all(len(join.reads) == 2 for join in stages)  # stages differ in shape, so only equal ones can be read


# Order of tasks, the policy, the cost.


def test_order_of_tasks_does_not_matter() -> None:
    """The same edges by name, with the tasks in another order: the same cost, and each task computes what it did."""
    costs, outputs = [], []
    for tasks in (TASKS, TASKS[::-1]):
        setup = vgg_setup(tasks)
        method = method_of(setup)
        joins = {join.join.name: join.join for join in method.space.joins}
        on = {choice: keeps(joins[choice.place], choice.read or 0) for choice in method.space.choices}
        assert len(set(on.values())) == 2
        plan = method.space.plan(picks_of(method, on))
        costs.append(executed_cost(plan, setup.backbone, setup.heads).total)
        outputs.append(outputs_by_name(plan, setup))
    assert costs[0] == costs[1]
    close(*outputs)


def keeps(join: Join, read: int) -> bool:
    source = join.reads[read]
    return sum(map(ord, f"{source.at}{source.task}{join.name}")) % 3 > 0


def outputs_by_name(plan: SharingPlan, setup: Setup) -> dict[str, torch.Tensor]:
    """What a plan computes with weights that know tasks and maps, not numbers."""
    lowered = lower(plan, setup.backbone, setup.heads)
    joins = {join.name: join for join in plan.joins}
    twin = Twin(lowered.graph).eval()
    content = {}
    for key, tensor in twin.weights().items():
        origin = lowered.origin[key]
        if isinstance(origin, BackboneWeight):
            mark = (origin.name, setup.tasks[origin.instance])
        else:
            assert isinstance(origin, FragmentWeight)
            name = origin.name
            if origin.part == "join" and name.startswith("weight"):
                name = repr(joins[origin.owner].reads[int(name.removeprefix("weight"))])
            mark = (origin.owner, name)
        generator = torch.Generator().manual_seed(sum(position * ord(c) for position, c in enumerate(repr(mark))))
        content[key] = 0.02 + 0.05 * torch.rand(tensor.shape, generator=generator)
    twin.load_weights(content)
    with torch.no_grad():
        return twin(image_for(setup))


def test_the_policy_names_edges() -> None:
    """The probability of each, in the column that it leads into; a column has none from itself."""
    setup = vgg_setup(TASKS)
    method = method_of(setup)
    shaken_again(method.model)
    policy = method.policy()
    assert policy.options == ("off", "on") and policy.tasks == TASKS
    assert len(set(policy.units)) == len(policy.units)
    learned = alphas(method.model)
    joins = {join.join.name: join.join for join in method.space.joins}
    shown = 0
    for choice, alpha in learned.items():
        join = joins[choice.place]
        read = join.reads[choice.read or 0]
        row = policy.probabilities[policy.units.index(f"{read.task}.{read.at} > {join.site}"), TASKS.index(choice.task)]
        p = float(torch.sigmoid(alpha))
        assert row.tolist() == pytest.approx([1 - p, p], abs=1e-6)
        shown += 1
    assert (policy.probabilities.sum(-1) > 0).sum() == shown == len(method.space.choices)
    for number, name in enumerate(policy.units):
        own = TASKS.index(name.partition(".")[0])
        assert not policy.probabilities[number, own].any()


@pytest.mark.parametrize("count", ["macs", "parameters"])
def test_expected_cost_of_decided_edges_is_counted(count: str) -> None:
    """Of any subset, what the lowered model costs; and of a policy, the sum over all subsets."""
    setup = vgg_setup()
    method = method_of(setup, cost=count, window=1, cost_weight=1.0)
    model = method.model
    shaken_again(model)
    shares = {choice: float(torch.sigmoid(alpha)) for choice, alpha in alphas(model).items()}
    choices = method.space.choices
    policy = {name: p.detach() for name, p in model.probabilities().items()}
    total = 0.0
    for bits in itertools.product([OFF, ON], repeat=4):
        # Four of the twelve edges, the others off.
        picks = {**dict.fromkeys(choices, OFF), **dict(zip(choices, bits, strict=False))}
        cost = executed_cost(method.space.plan(picks), setup.backbone, setup.heads)
        share = getattr(cost.backbone, count) / getattr(cost.independent_backbone, count)
        sure = {}
        for name, group in model.groups_of_choices.items():
            on = torch.tensor([picks[choice] for choice in group.choices])
            sure[name] = torch.nn.functional.one_hot(on, 2).double()
        assert float(model.expected_cost(sure)) == pytest.approx(share, rel=1e-9)
        total += share * math.prod(shares[c] if bit else 1 - shares[c] for c, bit in zip(choices, bits, strict=False))
    for name, group in model.groups_of_choices.items():
        for row, choice in enumerate(group.choices):
            if choice not in choices[:4]:
                policy[name][row] = torch.tensor([1.0, 0.0])
    assert float(model.expected_cost(policy)) == pytest.approx(total, rel=1e-6)
    assert torch.equal(model.cost(), model.terms(["cost"], {})["cost"])


def test_the_cost_falls_with_an_edge() -> None:
    """Its gradient drops edges: dear ones more than cheap ones."""
    model = method_of(vgg_setup()).model
    model.cost().backward()
    by_place = {choice.place: float(g) for choice, g in gradients_of(model).items()}
    assert all(gradient > 0 for gradient in by_place.values())
    assert by_place["a0_relu.depth"] == pytest.approx(by_place["b0_relu.depth"] * 4**2 * 144 / (6**2 * 36), rel=1e-4)


def gradients_of(model: MTLNASModel) -> dict[ChoiceId, torch.Tensor]:
    found = {}
    for (_, group), logits in zip(model.groups_of_choices.items(), model.policies, strict=True):
        found.update(zip(group.choices, logits.grad[:, 0], strict=True))
    return found


# Options, and the real thing.


def test_modes_and_terms_are_named() -> None:
    model = method_of(vgg_setup()).model
    with pytest.raises(InvalidConfig, match="no loss term"):
        model.terms(["entrpy"], {})
    with pytest.raises(InvalidConfig, match="no mode"):
        model.at(Moment("search", "serch"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"entropy": -1.0},
        {"relaxation": "d"},
        {"supernet": "all"},
        {"policy_fraction": 1.0},
        {"cost": "milliseconds"},
        {"alpha": 0.0},
        {"steps": 0},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MTLNASOptions.model_validate(wrong)


@pytest.mark.slow  # of a whole run; those of sluice, den and distilled are in the default suite
def test_a_pipeline_of_three_tasks(tmp_path: Path) -> None:
    """The real command: single-task models, the search, export with parity, the cost as counted in the file."""
    result, plan = run_three(tmp_path, "steps = 6", 'preset = "mtl-nas"')
    assert plan["method"] == "mtl-nas" and {join["kind"] for join in plan["joins"]} == {"project"}
    assert any(join.get("left_out") for join in plan["joins"])
    assert result["search"]["backbone_macs_share"] > 1
    assert result["train"]["steps"] == {"search": 2 + 3, "teacher": 0, "train": 0} and not result["train"]["alike"]
    shown = (tmp_path / "run/report.md").read_text()
    assert "edges.png" in shown and (tmp_path / "run/edges.png").read_bytes().startswith(b"\x89PNG")
