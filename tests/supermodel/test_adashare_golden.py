"""AdaShare: its formulas against plain loops, its phases, its curriculum, and what its draws come to."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import conv
from commands import invoke, pipeline
from method_work import TASKS, ShakenWork, hard, image, method_for, setup_for
from pydantic import ValidationError
from shortcut_nets import block_net, projected

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.graph.builder import GraphBuilder
from trunkline.recipe import Moment, Phase
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.decision import Sampling, choose_several
from trunkline.supermodel.methods.adashare import RUN, SKIPPED, AdaShare, AdaShareOptions
from trunkline.supermodel.work import Start, Work
from trunkline.twins.twin import Twin
from trunkline.verbs.training import TrainedPlan

pytestmark = pytest.mark.golden

PIPELINE = (
    (
        "steps = [2, 4]\nalternate = [1, 1]",
        'method = "adashare"\nwarm_up = 1\nsteps = 6\nalternate = [1, 1]\ndraws = 2',
    ),
    ("[tasks.depth]\n", "[tasks.depth]\n[tasks.edges]\n"),
    ('tasks = ["segmentation", "depth"]\n', ""),
)


def made(backbone: str = "residual", tasks: tuple[str, ...] = TASKS, **options: Any) -> AdaShare:
    method = method_for("adashare", setup_for(backbone, tasks), Path(), **options)
    assert isinstance(method, AdaShare)
    return method


def deep(blocks: int = 4) -> AdaShare:
    """Over a chain of blocks that may all be skipped but for the first."""
    b = GraphBuilder("deep")
    x = conv(b, b.image("image", (3, 16, 16)), "stem", 4)
    for index in range(blocks):
        x = conv(b, b.node("Relu", [x], name=f"relu{index}"), f"block{index}", 4)
    graph = b.finish([b.node("Relu", [x], name="end")])
    setup = replace(setup_for("chain"), backbone=Backbone(graph), heads={})
    return AdaShare(setup, AdaShareOptions(curriculum=0))


def with_logits(method: AdaShare, seed: int = 0) -> np.ndarray:
    """Give the model logits, and return them, ``[T, blocks, 2]``."""
    generator = torch.Generator().manual_seed(seed)
    logits = {
        task: torch.randn(p.shape, generator=generator) for task, p in zip(TASKS, method.model.policies, strict=True)
    }
    method.model.set_policy(logits)
    return np.stack([logits[task].double().numpy() for task in TASKS])


def probabilities(u: np.ndarray) -> np.ndarray:
    e = np.exp(u)
    return e / e.sum(-1, keepdims=True)


def term(method: AdaShare, name: str) -> float:
    return float(method.model.terms([name], {})[name].detach())


def test_terms_of_the_release() -> None:
    """Mean over blocks of −log p_skip; differences of raw logits, the last block's with weight 1."""
    method = deep()
    u = with_logits(method)
    p, (tasks, blocks, _) = probabilities(u), u.shape
    assert blocks == 4
    sparsity = sum(-math.log(p[t, l, SKIPPED]) / blocks for t in range(tasks) for l in range(blocks))
    sharing = 0.0
    for i in range(tasks):
        for j in range(i):
            sharing += sum((l + 1) / blocks * abs(u[i, l, RUN] - u[j, l, RUN]) for l in range(blocks))
    assert term(method, "sparsity") == pytest.approx(sparsity, rel=1e-5)
    assert term(method, "sharing") == pytest.approx(sharing, rel=1e-5)


def test_terms_of_the_paper() -> None:
    """Sum of log p_run; differences of probabilities, the last block's with weight 0."""
    method = deep()
    object.__setattr__(method.model, "options", AdaShareOptions(sparsity_form="paper", sharing_form="paper"))
    u = with_logits(method)
    p, (tasks, blocks, _) = probabilities(u), u.shape
    sharing = 0.0
    for i in range(tasks):
        for j in range(i):
            sharing += sum((blocks - 1 - l) / blocks * abs(p[i, l, RUN] - p[j, l, RUN]) for l in range(blocks))
    assert term(method, "sparsity") == pytest.approx(np.log(p[..., RUN]).sum(), rel=1e-5)
    assert term(method, "sharing") == pytest.approx(sharing, rel=1e-5)


@pytest.mark.parametrize("form", ["release", "paper"])
def test_terms_push_where_they_should(form: str) -> None:
    """A step down the sparsity makes every block likelier to be skipped; one down the sharing brings tasks nearer."""
    for name in ("sparsity", "sharing"):
        method = deep()
        object.__setattr__(method.model, "options", AdaShareOptions(sparsity_form=form, sharing_form=form))
        before = with_logits(method)
        method.model.terms([name], {})[name].backward()
        with torch.no_grad():
            steps = [(logits - 0.01 * logits.grad).double().numpy() for logits in method.model.policies]
        after = np.stack(steps)
        if name == "sparsity":
            assert (probabilities(after)[..., SKIPPED] > probabilities(before)[..., SKIPPED]).all()
        elif form == "release":
            # Raw logits come nearer, and probabilities need not: the logits of the skip are left where they are.
            assert (np.ptp(after[..., RUN], axis=0) < np.ptp(before[..., RUN], axis=0)).all()
            assert np.array_equal(after[..., SKIPPED], before[..., SKIPPED])
        else:
            spread = [np.ptp(probabilities(u)[:, :-1, RUN], axis=0) for u in (before, after)]
            assert (spread[1] < spread[0]).all()
            assert np.array_equal(after[:, -1], before[:, -1])  # the last block has weight 0


def test_equal_policies_share_for_nothing() -> None:
    method = deep()
    row = torch.randn(4, 2)
    method.model.set_policy(dict.fromkeys(TASKS, row))
    assert term(method, "sharing") == 0.0
    method.model.set_policy({"seg": row + torch.tensor([0.1, 0.0])})
    assert term(method, "sharing") > 0.0


def test_expected_blocks_are_the_sum() -> None:
    """Of one task, the expected cost is Σ p_run · c over its blocks, and what always runs."""
    method = made("chain", TASKS[:1])
    method.model.set_policy({"depth": torch.tensor([[0.3, -0.4]])})
    p = probabilities(np.array([0.3, -0.4]))[RUN]
    costs = {unit.name: unit.cost.macs for unit in method.space.table.units}
    (choice,) = method.space.choices
    whole = sum(costs.values())
    assert term(method, "cost") == pytest.approx((whole - (1 - p) * costs[choice.place]) / whole, rel=1e-6)


def test_phases_are_the_papers() -> None:
    method = made(warm_up=7, steps=50, alternate=(2, 3), policy_fraction=0.25, cost_weight=0.1, sparsity=0.0)
    warm, search = method.phases()
    assert (warm.mode, warm.steps, warm.rates(0)) == ("run", 7, {"weights": 1e-3})
    weights, policy = search.turns
    assert (weights.name, weights.steps, policy.name, policy.steps) == ("weights", 3, "policy", 2)
    assert (policy.data.share, weights.data.share) == ((0.0, 0.25), (0.25, 1.0))
    assert policy.terms == {"sharing": 0.05, "cost": 0.1} and not weights.terms
    assert weights.moves[0].optimiser.kind == "sgd" and policy.moves[0].optimiser.lr == 1e-2
    assert weights.joint and policy.joint and not search.reset_statistics
    taus = [method.model.at(search.moment(step))["temperature"] for step in (0, 4, 5, 10)]
    assert taus == pytest.approx([5.0, 5.0, 5.0 * 0.965, 5.0 * 0.965**2])
    assert [phase.name for phase in made(warm_up=0).phases()] == ["search"]


def test_a_cycle_reads_its_parts_once() -> None:
    """Four batches an epoch: one for the policy, three for the weights."""
    search = made().phases()[1]
    assert [turn.steps for turn in search.turns] == [3, 1]


def test_warm_up_is_the_shared_model() -> None:
    """With all blocks on, bit for bit what one backbone for all tasks computes; no logits have a gradient."""
    method = made()
    ShakenWork(method.setup).fit("search", method.model, [])
    model = method.model.train()
    lowered = lower(all_shared(method.setup.backbone, TASKS), method.setup.backbone, method.setup.heads)
    twin = Twin(lowered.graph, weights={key: t.numpy() for key, t in model.weights(lowered).items()}).train()
    model.at(method.phases()[0].moment(0))
    outputs, expected = model(image()), twin(image())
    for task in TASKS:
        assert torch.equal(outputs[task], expected[task])
    torch.stack([y.square().mean() for y in outputs.values()]).sum().backward()
    assert all(logits.grad is None for logits in model.policies)


def test_everything_skipped_is_the_shortcuts() -> None:
    """The head reads the stem, led through the projections of the blocks."""
    backbone = Backbone(block_net(projected))
    method = AdaShare(replace(setup_for("chain"), backbone=backbone, heads={}), AdaShareOptions())
    plan = method.space.plan(dict.fromkeys(method.space.choices, SKIPPED))
    names = {node.name for node in lower(plan, backbone, {}).graph.nodes if node.op_type != "Identity"}
    assert names == {"stem", "stem_bn", "stem_relu", "s", "s_bn", "end", "end_bn", "end_relu"}


def test_the_stem_always_runs() -> None:
    b = GraphBuilder("even")
    x = b.image("image", (3, 16, 16))
    for name in ("stem", "next"):
        x = b.node("Relu", [conv(b, x, name, 3)], name=f"{name}_relu")
    method = AdaShare(replace(setup_for("chain"), backbone=Backbone(b.finish([x])), heads={}), AdaShareOptions())
    assert {choice.place for choice in method.space.choices} == {"next"}


@pytest.mark.parametrize(("every", "opened"), [(0, [4, 4, 4, 4]), (1, [1, 2, 3, 4]), (3, [1, 1, 1, 2])])
def test_curriculum_opens_from_the_end(every: int, opened: list[int]) -> None:
    """After k visits of the policy the last ⌊k/every⌋ + 1 blocks; those before them run, for certain and undecided."""
    shallow = deep()
    method = AdaShare(shallow.setup, AdaShareOptions(curriculum=every, alternate=(1, 2), steps=60))
    model, search = method.model.train(), method.phases()[1]
    for visits, number in enumerate(opened):
        for step in (3 * visits, 3 * visits + 2):  # weights, policy
            model.zero_grad(set_to_none=True)
            model.at(search.moment(step))
            weights = model.option_weights("depth").detach()
            assert weights[: 4 - number].tolist() == [[1.0, 0.0]] * (4 - number)
            assert ((weights[4 - number :] > 0) & (weights[4 - number :] < 1)).all()
            loss = torch.stack([y.square().mean() for y in model(image()).values()]).sum()
            (loss + sum(model.terms(["sparsity", "sharing"], {}).values())).backward()
            for logits in model.policies:
                moved = logits.grad.abs().sum(-1) > 0
                assert moved.tolist() == [False] * (4 - number) + [True] * number


def test_half_the_search_is_the_curriculum() -> None:
    """Unless it is told: at any length, all blocks are decided about in the second half."""
    shallow = deep()
    for steps in (4, 8, 40, 400):
        method = AdaShare(shallow.setup, AdaShareOptions(alternate=(1, 3), steps=steps))
        last = method.phases()[1].moment(steps - 1)
        curriculum = method.model.curriculum
        assert curriculum.open(4, last) == 4
        if steps >= 40:
            assert curriculum.open(4, method.phases()[1].moment(0)) == 1
            assert curriculum.open(4, method.phases()[1].moment(steps // 2)) == 4
            assert curriculum.open(4, method.phases()[1].moment(steps // 4)) in (2, 3)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"curriculum": 30, "alternate": (1, 1), "steps": 100}, "search.curriculum: 90 visits of the policy"),
        ({"alternate": (1, 100), "steps": 100}, "search.steps: the policy's first step comes after 100 steps"),
    ],
)
def test_searches_too_short_are_refused(options: Mapping[str, Any], said: str) -> None:
    """A block that was never decided about would be skipped by chance."""
    with pytest.raises(InvalidConfig, match=said):
        AdaShare(deep().setup, AdaShareOptions(**options))
    AdaShare(deep().setup, AdaShareOptions(**{**options, "steps": 182}))


@pytest.mark.abuse
def test_nothing_to_skip_is_refused() -> None:
    b = GraphBuilder("growing")
    x = b.image("image", (3, 16, 16))
    for number in range(3):
        x = b.node("Relu", [conv(b, x, f"conv{number}", 4 + number)], name=f"relu{number}")
    setup = replace(setup_for("chain"), backbone=Backbone(b.finish([x])), heads={})
    with pytest.raises(InvalidConfig, match='search.method: no block of "growing" can be skipped'):
        AdaShare(setup, AdaShareOptions())


@pytest.mark.abuse
def test_draws_need_samples_that_choose() -> None:
    setup = setup_for("residual")
    without = replace(setup, phase=setup.phase.model_copy(update={"eval_split": None}))
    with pytest.raises(InvalidConfig, match="search.draws: no samples are held out"):
        AdaShare(without, AdaShareOptions())
    AdaShare(without, AdaShareOptions(draws=1))


@pytest.mark.abuse
def test_a_form_that_there_is_not() -> None:
    with pytest.raises(ValidationError):
        AdaShareOptions(sharing_form="papers")


@dataclass
class JudgingWork(ShakenWork):
    """Gives each training the next of some scores, and notes what was asked."""

    scores: Sequence[float] = ()
    jobs: list[str] = field(default_factory=list)
    plans: list[SharingPlan] = field(default_factory=list)

    def each(self, jobs: Mapping[str, Callable[[Work], Any]]) -> dict[str, Any]:
        self.jobs += jobs
        return super().each(jobs)

    def train(
        self, name: str, plan: SharingPlan, *, start: Start | None = None, phases: Sequence[Phase] | None = None
    ) -> TrainedPlan:
        assert start is None and phases is None  # from scratch, as the pipeline says
        self.plans.append(plan)
        return replace(super().train(name, plan), score=self.scores[len(self.plans) - 1])


def different_draws(method: AdaShare, count: int) -> Sampling:
    """Draws of the policy that a shaken search ends with, of which no two are equal."""
    ShakenWork(method.setup).fit("search", method.model, [])
    policy = method.model.probabilities()
    for seed in range(100):
        sampling = Sampling(kind="draw", seed=seed)
        if len(choose_several(method.space, {}, policy, sampling, "adashare", method.setup.seed, count)) == count:
            return sampling
    raise AssertionError("all of them hold equal ones")


def test_the_best_draw_is_delivered() -> None:
    """By its score on the samples that choose; what was not judged is not taken."""
    method = AdaShare(deep().setup, AdaShareOptions(draws=4, sampling=different_draws(deep(), 4)))
    work = JudgingWork(method.setup, scores=[-3.0, -1.0, math.nan, -2.0])
    found = method.find(work)
    assert len(set(work.jobs)) == len(work.plans) == 4
    assert found.trained is not None and found.trained.plan == work.plans[1]
    assert found.plan.units == work.plans[1].units
    first = method.options.sampling.seed
    assert found.plan.provenance["taken"] == first + 1
    scores = {str(first + number): score for number, score in enumerate((-3.0, -1.0, None, -2.0))}
    assert found.plan.provenance["scores"] == scores
    assert found.phases is None and not found.goes_on
    assert json.loads(found.plan.to_json())["method"] == "adashare"


def test_equal_draws_are_trained_once() -> None:
    """A policy that is sure of itself draws one plan, which is trained as every other method's."""
    method = made(draws=8)
    work = JudgingWork(method.setup)

    def sure(name: str, model: Any, phases: Sequence[Phase]) -> dict[str, Any]:
        hard(model, torch.Generator().manual_seed(2))
        return {}

    work.fit = sure  # type: ignore[method-assign]
    found = method.find(work)
    assert work.jobs == [] and found.trained is None and found.phases is None


def test_one_draw_is_trained_by_the_pipeline() -> None:
    method = made(draws=1)
    work = JudgingWork(method.setup)
    found = method.find(work)
    assert work.jobs == [] and found.trained is None
    assert found.steps == 500 + method.phases()[1].turn_steps("weights")


@pytest.mark.abuse
def test_draws_that_nothing_judges() -> None:
    method = made(draws=2, sampling=different_draws(made(), 2))
    with pytest.raises(InvalidConfig, match="none of the plans that were trained has a metric"):
        method.find(JudgingWork(method.setup, scores=[math.nan] * 2))


def test_draws_follow_the_policy() -> None:
    """Sampled block by block, not the most likely option of each."""
    method = deep()
    sure = torch.tensor([[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [0.0, 0.0]])
    method.model.set_policy(dict.fromkeys(TASKS, sure))
    method = AdaShare(method.setup, AdaShareOptions(draws=8, curriculum=0))
    work = JudgingWork(method.setup, scores=range(8))

    def learned(name: str, model: Any, phases: Sequence[Phase]) -> dict[str, Any]:
        model.set_policy(dict.fromkeys(TASKS, sure))
        return {}

    work.fit = learned  # type: ignore[method-assign]
    method.find(work)
    rows = [plan.units for plan in work.plans]
    assert {row["block0"]["depth"] for row in rows} == {0} and {row["block2"]["depth"] for row in rows} == {"skip"}
    assert {row["block3"]["depth"] for row in rows} == {0, "skip"}


def test_draws_may_change_after_the_search() -> None:
    free = set(AdaShare.free())
    assert free == {"sampling", "draws"}
    assert free.isdisjoint(AdaShare.decisive(AdaShareOptions()))
    assert AdaShareOptions().sampling == Sampling(kind="draw") and AdaShareOptions().draws == 8


def test_a_run_delivers_the_draw_as_trained(tmp_path: Path) -> None:
    """Three tasks through the real commands: the file is the best draw's model, and counts what its plan executes."""
    path, out = pipeline(tmp_path, *PIPELINE), tmp_path / "run"
    searched, trained, exported = (
        invoke(verb, path, "--out", out, "--quiet", "--json") for verb in ("search", "train", "export")
    )
    assert exported.code == 0, (searched.err, trained.err, exported.err)
    plan = SharingPlan.load(out / "plan.json")
    scores = plan.provenance["scores"]
    assert plan.provenance["taken"] == int(max(scores, key=lambda seed: scores[seed]))
    assert trained.json["alike"] and trained.json["steps"] == {"search": 0, "teacher": 0, "train": 4}
    assert f"search-plan{plan.provenance['taken']}-" in trained.json["checkpoint"]
    assert not (out / "train").exists()  # it is trained already
    assert exported.json["parity"]["passed"]
    assert count_file(out / "model.onnx").macs == searched.json["macs"]["executed"]


def test_one_hot_costs_are_executed() -> None:
    """Tasks that run and tasks that skip a block with a projection share it."""
    backbone = Backbone(block_net(projected))
    method = AdaShare(replace(setup_for("chain"), backbone=backbone, heads={}), AdaShareOptions())
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        picks = hard(method.model, generator, pinned=False)
        cost = executed_cost(method.space.plan(picks), backbone, {})
        method.model.at(Moment("test", "argmax"))
        assert term(method, "cost") == pytest.approx(cost.relative[0], rel=1e-6)
