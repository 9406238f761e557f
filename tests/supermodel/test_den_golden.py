"""DEN: its slices against masks, its reward against loops, its stages, its costs against brute force, its plan."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from backbones import chain, conv, unit
from method_work import TASKS, ShakenWork, hard, image, method_for, setup_for
from plans import light_heads
from pydantic import ValidationError
from shortcut_nets import block_net, projected
from three_tasks import run_three

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.export.exporter import export_model
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph, attribute, inputs_of, name_of
from trunkline.pipeline.config import parse_config
from trunkline.recipe import Moment
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.open_join import ChoiceId
from trunkline.sharing.origin import BackboneWeight, FragmentWeight
from trunkline.sharing.plan import View
from trunkline.supermodel.choices import ScoreFunction
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.den import DEN, DENOptions, channel_shares
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden

NETWORKS = ("chain", "residual", "mobile", "taps", "shortcut first")
MASKED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "residual": {"a1": ("a1_bn",), "b1": ("b1_bn",)},
    "mobile": {"expand0": ("expand0_bn", "depth0_bn")},
    "taps": {"a1": ("a1_bn",)},
    "shortcut first": {"s": ("m1_bn",)},
}
"""By network and block: behind which normalisations a mask stands."""
SHORTCUTS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "chain": {"conv1": ("relu1", "relu0")},
    "residual": {"a1": ("a_relu", "stem_relu"), "b1": ("b_relu", "b_short_bn")},
    "mobile": {"expand0": ("add0", "stem_relu"), "left": ("late_relu", "project1_bn")},
    "taps": {"a1": ("low", "stem_relu"), "b2": ("high", "b1_relu")},
    "shortcut first": {"s": ("relu", "s_bn"), "last": ("last_relu", "relu")},
}
"""By network and block: the value of the block, and what stands in for it where it runs none of its channels."""
INNER = {"a1_bn": 8, "b1_bn": 12, "expand0_bn": 16, "depth0_bn": 16, "m1_bn": 8}
"""Channels of a masked map; ``a1_bn`` of the network with two feature maps has 6."""


def setup_of(name: str, tasks: Sequence[str] = TASKS) -> Setup:
    if name != "shortcut first":
        return setup_for(name, tasks)
    backbone = block_net(projected, first="shortcut")
    heads = {task: head for task, head in light_heads(backbone).items() if task in tasks}
    return replace(setup_for("residual", tasks), backbone=Backbone(backbone), heads=heads)


def made(backbone: str = "residual", tasks: Sequence[str] = TASKS, **options: Any) -> DEN:
    method = method_for("den", setup_of(backbone, tasks), Path(), **options)
    assert isinstance(method, DEN)
    return method


def share_of(method: DEN, picks: Mapping[ChoiceId, int], unit_name: str, task: str) -> float:
    """The share of a block's inner channels that a task runs, 0 where it skips the block."""
    options = method.space.entries[unit_name][task]
    option = options[picks.get(ChoiceId(unit_name, task), 0)]
    return 0.0 if option.skip else option.channels


def run_nodes(graph: Graph, inputs: Mapping[str, torch.Tensor], weight: Any, after: Any) -> dict[str, torch.Tensor]:
    """What a Graph computes, node by node, with ``after`` applied to every result."""
    values = dict(inputs)
    for node in graph.nodes:
        x = [values[name_of(v)] if name_of(v) in values else weight(name_of(v)) for v in inputs_of(node)]
        match node.op_type:
            case "Conv":
                stride, pad = attribute(node, "strides", [1, 1]), attribute(node, "pads", [0] * 4)[:2]
                group = attribute(node, "group", 1)
                y = F.conv2d(x[0], x[1], x[2] if len(x) > 2 else None, list(stride), list(pad), groups=group)
            case "BatchNormalization":
                y = F.batch_norm(x[0], x[3], x[4], x[1], x[2], eps=attribute(node, "epsilon", 1e-5))
            case "Relu":
                y = F.relu(x[0])
            case "Add":
                y = x[0] + x[1]
            case "Concat":
                y = torch.cat(x, dim=1)
            case "MaxPool":
                y = F.max_pool2d(x[0], 2)
            case "Resize":
                y = F.interpolate(x[0], scale_factor=2, mode="nearest")
            case _:
                raise AssertionError(node.op_type)
        values[name_of(node.outputs[0])] = after(name_of(node), y, values)
    return values


def naive(
    method: DEN, name: str, picks: Mapping[ChoiceId, int], task: str, *, before_norm: bool = False
) -> torch.Tensor:
    """A task's output by the full network, with channels set to 0 behind the normalisations of the inner map."""
    places = {bn: block for block, names in MASKED.get(name, {}).items() for bn in names}
    ends = {value: (block, short) for block, (value, short) in SHORTCUTS[name].items()}
    store, setup = method.model.store, method.setup

    def weight(key: str) -> torch.Tensor:
        if ".mean" in key or ".var" in key:
            return master(key, len(store.at(BackboneWeight(key.rsplit(".", 1)[0] + ".scale"))))
        return store.at(BackboneWeight(key)).detach()

    def after(node: str, y: torch.Tensor, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        place = f"{node}_bn" if before_norm else node
        if place in places:
            assert y.shape[1] == (6 if name == "taps" else INNER[place])
            kept = round(y.shape[1] * share_of(method, picks, places[place], task))
            y = y * (torch.arange(y.shape[1]) < kept)[:, None, None]
        if node in ends and share_of(method, picks, ends[node][0], task) == 0:
            return values[ends[node][1]]
        return y

    backbone = setup.backbone.graph
    values = run_nodes(backbone, {name_of(backbone.input): image()}, weight, after)
    head = setup.heads[task]
    names = [name_of(value) for value in head.model.graph.inputs]
    maps = [values[name_of(value)] for value in backbone.outputs][-len(names) :]

    def of_head(key: str) -> torch.Tensor:
        if key == "scales":
            return torch.zeros(0)  # of a Resize by 2
        return store.at(FragmentWeight("head", task, key)).detach()

    outputs = run_nodes(head, dict(zip(names, maps, strict=True)), of_head, lambda node, y, values: y)
    return outputs[name_of(head.outputs[0])]


def master(name: str, channels: int) -> torch.Tensor:
    """The running statistic of a channel, whatever view it is of."""
    start = 0.7 if ".var" in name else -0.2
    return start + 0.6 * torch.rand(64, generator=torch.Generator().manual_seed(len(name)))[:channels]


def shaken(method: DEN) -> None:
    """Other weights everywhere; statistics that say the same of a channel at every width."""
    ShakenWork(method.setup).fit("search", method.model, [])
    for key, tensor in method.model.statistics().items():
        name = key.split("~")[0].split(":")[0]
        tensor.copy_(master(name, len(tensor)))


@pytest.mark.parametrize("name", NETWORKS)
def test_slices_are_the_masked_network(name: str) -> None:
    """Masks behind the normalisation, in a full network of each task: supermodel and lowered model give its numbers."""
    method = made(name)
    shaken(method)
    model, generator = method.model.eval(), torch.Generator().manual_seed(7)
    seen = set()
    for _ in range(8):
        picks = hard(model, generator, pinned=False)
        lowered = lower(method.space.plan(picks), method.setup.backbone, method.setup.heads)
        twin = Twin(lowered.graph, weights=model.weights(lowered)).eval()
        with torch.no_grad():
            searched, sliced = model(image()), twin(image())
            for task in TASKS:
                expected = naive(method, name, picks, task)
                torch.testing.assert_close(sliced[task], expected, rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(searched[task], expected, rtol=1e-4, atol=1e-5)
        seen |= {share_of(method, picks, choice.place, choice.task) for choice in method.space.choices}
    views = {"chain": [], "taps": [1 / 3, 0.5]}.get(name, [0.25, 0.5])
    assert sorted(seen) == [0.0, *views, 1.0]


def test_masks_before_the_normalisation_are_not() -> None:
    """As in the release: a channel set to 0 leaves the normalisation as a constant, which no slice gives."""
    method = made("residual")
    shaken(method)
    picks = dict.fromkeys(method.space.choices, 1)
    hard_logits = {task: 1000 * F.one_hot(torch.ones(2, dtype=torch.long), 4).float() for task in TASKS}
    method.model.eval().set_policy(hard_logits)
    method.model.at(Moment("test", "argmax"))
    assert method.model.picks() == picks
    with torch.no_grad():
        sliced = method.model(image())["seg"]
        masked = naive(method, "residual", picks, "seg", before_norm=True)
    assert float((sliced - masked).abs().max() / masked.abs().max()) > 0.01


def test_everything_runs_is_multi_task() -> None:
    """Bit for bit one backbone for all tasks."""
    method = made("mobile")
    shaken(method)
    setup, model = method.setup, method.model.eval()
    lowered = lower(all_shared(setup.backbone, TASKS), setup.backbone, setup.heads)
    twin = Twin(lowered.graph, weights=model.weights(lowered)).eval()
    # Ties go to the widest.
    model.set_policy({task: torch.zeros_like(logits) for task, logits in logits_of(method)})
    model.at(Moment("test", "argmax"))
    with torch.no_grad():
        one, other = model(image()), twin(image())
    assert all(torch.equal(one[task], other[task]) for task in TASKS)


def test_nothing_runs_is_the_shortcuts() -> None:
    """Only the stem, and projections where shapes change."""
    method = made("residual")
    last = {choice: method.space.option_count(choice) - 1 for choice in method.space.choices}
    plan = method.space.plan(last)
    convolutions = {node.name for node in lower(plan, method.setup.backbone, {}).graph.nodes if node.op_type == "Conv"}
    assert convolutions == {"stem", "b_short"}


@pytest.mark.parametrize("widths", [(0, 1, 2), (1, 2, 2), (2, 2, 2), (3, 1, 3)])
def test_parameters_are_those_of_the_widest(widths: tuple[int, ...]) -> None:
    """What is stored of both convolutions is what the widest task reads; MACs are each width's own."""
    method = made("residual", widths=(0.5, 0.25))
    number = dict(zip(TASKS, widths, strict=True))
    picks = {choice: number[choice.task] if choice.place == "a1" else 0 for choice in method.space.choices}
    cost = executed_cost(method.space.plan(picks), method.setup.backbone, method.setup.heads).backbone
    whole = executed_cost(all_shared(method.setup.backbone, TASKS), method.setup.backbone, method.setup.heads).backbone
    widest = max([8, 4, 2, 0][width] for width in widths)
    # Of each missing channel: 8·9 weights of either convolution, and scale and offset.
    assert cost.parameters == whole.parameters - (8 - widest) * (2 * 8 * 9 + 2)


@pytest.mark.parametrize("count", ["macs", "parameters"])
@pytest.mark.parametrize("name", ["residual", "shortcut first", "taps"])
def test_expected_cost_is_brute_force(name: str, count: str) -> None:
    """Σ over all plans of probability times what the lowered plan costs."""
    method = made(name, TASKS[:2], cost=count)
    generator = torch.Generator().manual_seed(3)
    method.model.set_policy({task: torch.randn(p.shape, generator=generator) for task, p in logits_of(method)})
    p = dict(rows_of(method))
    expected = 0.0
    for numbers in itertools.product(*(range(method.space.option_count(choice)) for choice in p)):
        picks = dict(zip(p, numbers, strict=True))
        cost = executed_cost(method.space.plan(picks), method.setup.backbone, method.setup.heads)
        share = getattr(cost.backbone, count) / getattr(cost.independent_backbone, count)
        expected += math.prod(float(p[choice][number]) for choice, number in picks.items()) * share
    found = float(method.model.expected_cost(method.model.probabilities()).detach())
    assert found == pytest.approx(expected, rel=1e-5)


def logits_of(method: DEN) -> list[tuple[str, torch.Tensor]]:
    return list(zip(method.model.groups_of_choices, method.model.policies, strict=True))


def rows_of(method: DEN) -> list[tuple[ChoiceId, np.ndarray]]:
    found = []
    for name, p in method.model.probabilities().items():
        found += zip(method.model.groups_of_choices[name].choices, p.detach().double().numpy(), strict=True)
    return found


@pytest.mark.parametrize("form", ["release", "relative"])
def test_the_reward_is_the_formula(form: str) -> None:
    """R = (1 − u²)/ρ + 1 − loss, and the gradient −R·(1 at what was drawn − π), written out."""
    method = made("residual", reward=form, rho=4.0, explore=0.0)
    generator = torch.Generator().manual_seed(1)
    method.model.set_policy({task: torch.randn(p.shape, generator=generator) for task, p in logits_of(method)})
    model = method.model
    model.late_losses.copy_(torch.tensor([2.0, 5.0, 0.5]))
    model.at(Moment("search", "select", step=3, of=10))
    losses = {"depth": torch.tensor(3.0), "seg": torch.tensor(0.25)}
    with torch.no_grad():
        tried = model.terms(["reward"], losses)["reward"]  # changes nothing
    term = model.terms(["reward"], losses)["reward"]
    term.backward()
    expected, picks = 0.0, model.picks()
    late = {"depth": 2.0, "seg": 0.5}
    for task, logits in logits_of(method):
        if task not in losses:
            assert logits.grad is None
            continue
        p = torch.softmax(logits.detach().double(), -1).numpy()
        numbers = [picks[ChoiceId(block, task)] for block in ("a1", "b1")]
        u = ([1, 0.5, 0.25, 0][numbers[0]] + [1, 0.5, 0.25, 0][numbers[1]]) / 2
        loss = float(losses[task]) / (late[task] if form == "relative" else 1.0)
        reward = (1 - u**2) / 4 + 1 - loss
        expected -= reward * sum(math.log(p[block, number]) for block, number in enumerate(numbers))
        gradient = -reward * (np.eye(4)[numbers] - p)
        np.testing.assert_allclose(logits.grad.numpy(), gradient, rtol=1e-4, atol=1e-6)
    assert float(term.detach()) == pytest.approx(expected, rel=1e-5)
    assert float(tried) == float(term.detach())
    moved = [2.0 * 0.9 + 0.3, 5.0, 0.5 * 0.9 + 0.025] if form == "relative" else [2.0, 5.0, 0.5]
    assert model.late_losses.tolist() == pytest.approx(moved)


def test_a_first_loss_is_its_own_average() -> None:
    """Before a task has had a step nothing is known, so the loss counts as neither good nor bad; then it is kept."""
    method = made("residual", explore=0.0)
    model = method.model
    model.at(Moment("search", "select"))
    model.terms(["reward"], {"depth": torch.tensor(700.0)})
    assert model.late_losses.tolist() == [700.0, 0.0, 0.0]
    assert "late_losses" in model.state_dict()  # a run that is stopped goes on with it


def test_usage_is_the_formula() -> None:
    """−Σ (1 − E[u]²)/ρ over the tasks with a loss, with a gradient to their logits only."""
    method = made("residual", selector="gumbel", rho=5.0)
    generator = torch.Generator().manual_seed(1)
    method.model.set_policy({task: torch.randn(p.shape, generator=generator) for task, p in logits_of(method)})
    term = method.model.terms(["usage"], {"normals": torch.tensor(1.0), "seg": torch.tensor(1.0)})["usage"]
    term.backward()
    expected = 0.0
    for task, logits in logits_of(method):
        assert (logits.grad is None) == (task == "depth")
        if task != "depth":
            p = torch.softmax(logits.detach().double(), -1).numpy()
            u = sum(p[row] @ [1, 0.5, 0.25, 0] / 2 for row in range(2))
            expected -= (1 - u**2) / 5
    assert float(term.detach()) == pytest.approx(expected, rel=1e-5)


def test_gumbel_passes_gradients_to_widths() -> None:
    """One width runs at a time; the loss itself moves the logits."""
    method = made("residual", selector="gumbel")
    search = method.phases()[-1]
    assert set(search.turns[0].terms) == {"usage"}
    method.model.train().at(search.moment(0))
    weights = method.model.option_weights("seg")
    assert sorted(set(weights.detach().flatten().tolist())) == [0.0, 1.0]
    torch.stack([y.square().mean() for y in method.model(image()).values()]).sum().backward()
    assert all(float(logits.grad.abs().sum()) > 0 for _, logits in logits_of(method))


def test_blocks_count_alike() -> None:
    """As in the release: a mean over those that are decided about, however wide they are."""
    shares = channel_shares(made("mobile").space)
    found = {choice.place: row for choice, row in shares.items() if choice.task == "seg"}
    assert found == {"expand0": [0.5, 0.25, 0.125, 0.0], "left": [0.5, 0.0]}


def test_rewards_find_the_widths_that_pay() -> None:
    """Losses that only the width of one block moves: each task ends at the best of all sixteen plans of its own."""
    method = made("residual", rho=2.0)
    needs = {"depth": {"a1": 1.0, "b1": 0.25}, "normals": {"a1": 0.0, "b1": 1.0}, "seg": {"a1": 0.0, "b1": 0.0}}

    def loss(picks: Mapping[ChoiceId, int], task: str) -> float:
        short = [max(0.0, needs[task][b] - share_of(method, picks, b, task)) for b in ("a1", "b1")]
        return 1.0 + 4.0 * sum(short)

    model, search = method.model, replace_steps(method, 1_000)
    adam = torch.optim.Adam(model.policies, lr=0.03)
    for step in range(1_000):
        model.at(search.moment(step))
        picks = model.picks()
        adam.zero_grad()
        model.terms(["reward"], {task: torch.tensor(loss(picks, task)) for task in TASKS})["reward"].backward()
        adam.step()
    model.at(Moment("search", "argmax"))
    for task in TASKS:
        best = {ChoiceId(b, task): [1.0, 0.5, 0.25, 0.0].index(needs[task][b]) for b in ("a1", "b1")}
        assert {choice: number for choice, number in model.picks().items() if choice.task == task} == best


def replace_steps(method: DEN, steps: int) -> Any:
    (selector, _) = method.phases()[-1].turns
    return method.phases()[-1].model_copy(
        update={"steps": steps, "turns": (selector.model_copy(update={"steps": 60}),)}
    )


def test_stages_are_the_releases() -> None:
    """Widths first; then the selector draws, and the weights learn with what is likeliest."""
    method = made(warm_up=7, steps=52, alternate=(4, 8), policy_fraction=0.25, cost_weight=0.1, joint=False)
    warm, search = method.phases()
    assert (warm.name, warm.mode, warm.steps) == ("estimator", "random", 7)
    selector, weights = search.turns
    assert (selector.name, selector.mode, selector.steps, selector.statistics) == ("policy", "select", 4, "hold")
    assert selector.terms == {"reward": 1.0, "cost": 0.1} and not weights.terms
    assert (selector.data.share, weights.data.share) == ((0.0, 0.25), (0.25, 1.0))
    assert [turn.joint for turn in (*warm.turns, *search.turns)] == [False] * 3
    assert [search.moment(step).mode for step in (0, 3, 4, 11, 12)] == ["select"] * 2 + ["argmax"] * 2 + ["select"]
    assert search.position(12) == 4 and made().phases()[-1].position(130) == 130  # no stage reads a sample again
    assert [phase.name for phase in made(warm_up=0).phases()] == ["search"]


def test_the_preset_is_the_release() -> None:
    """Ten stages of the selector, nine of the weights and one more in training, with rates that fall twice."""
    config = parse_config({"preset": "den"})
    options, train = config.search.options, config.train
    assert isinstance(options, DENOptions)
    selector, weights = options.alternate
    assert options.steps == 10 * (selector + weights) - weights and train.steps == weights == 15_642
    rates = [options.weight_schedule.factor(step, 78_200) for step in (39_099, 39_100, 58_650)]
    assert rates == pytest.approx([1.0, 0.1, 0.01])
    stages = options.steps - 10 * selector
    assert options.stage_schedule is not None and stages == 9 * weights
    ends = [number * weights - before for number in (3, 6) for before in (1, 0)]
    at_stages = [options.stage_schedule.factor(step, stages) for step in ends]
    assert at_stages == pytest.approx([1.0, 0.1, 0.1, 0.01])
    assert train.optimiser == options.weight_optimiser and train.optimiser.nesterov
    assert (options.rho, options.explore, options.reward, options.joint) == (10.0, 0.99, "release", False)


def test_exploration_is_the_releases() -> None:
    """0.99 to the power of the step in a stage of 4,693; a shorter stage explores as large a part of it, each anew."""
    release = made(alternate=(4693, 15642), steps=40_000)
    search = release.phases()[-1]
    for step, within in ((0, 0), (10, 10), (4693 + 15642 + 10, 10)):
        assert release.model.at(search.moment(step))["explore"] == pytest.approx(0.99**within)
    short = made(alternate=(100, 50))
    half = short.model.at(short.phases()[-1].moment(50))["explore"]
    assert half == pytest.approx(0.99 ** (4693 / 2), rel=1e-6)
    never = made(explore=0.0)
    assert {never.model.at(search.moment(step))["explore"] for step in (0, 1, 4693 + 15642)} == {0.0}
    assert isinstance(made(explore=0.5).model.modes["select"], ScoreFunction)


def test_every_stage_draws_anew() -> None:
    """Other widths in each stage, though exploration begins again."""
    method = made(alternate=(3, 2), steps=500, explore=1.0)
    search, seen = method.phases()[-1], set()
    for stage in range(12):
        method.model.at(search.moment(5 * stage))
        seen.add(tuple(method.model.picks().values()))
    assert len(seen) > 8


def test_the_estimator_runs_all_or_draws() -> None:
    method = made(random_share=0.3, warm_up=1000)
    phase = method.phases()[0]
    whole = 0
    for step in range(1000):
        method.model.at(phase.moment(step))
        whole += set(method.model.picks().values()) == {0}
    # 16 options of each of three tasks: a draw is hardly ever all of them whole.
    assert whole / 1000 == pytest.approx(0.7, abs=0.05)


def test_training_goes_on_from_the_search() -> None:
    """As the pipeline says, with the weights that narrow and wide tasks have in common."""
    method = made("residual", warm_up=5, steps=22, alternate=(2, 3))
    found = method.find(ShakenWork(method.setup))
    assert found.goes_on and found.phases is None and found.trained is None
    assert found.steps == 5 + 12  # the weights' turns alone
    lowered = lower(found.plan, method.setup.backbone, method.setup.heads)
    assert set(found.start(lowered)) == set(lowered.origin)
    assert DEN.trains_on


def narrow_net() -> Graph:
    """Blocks with inner maps of 1, 2 and 3 channels."""
    b = GraphBuilder("narrow")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 4)
    for number in (1, 2, 3):
        y = unit(b, unit(b, x, f"in{number}", number), f"out{number}", 4, relu=False)
        x = b.node("Relu", [b.node("Add", [x, y], name=f"add{number}")], name=f"end{number}")
    return b.finish([x])


def test_widths_that_round_alike_are_one() -> None:
    """And are shown under the first of their names; a block that lacks some keeps its options' names."""
    setup = replace(setup_for("chain"), backbone=Backbone(narrow_net()), heads={})
    method = DEN(setup, DENOptions(widths=(0.5, 0.4, 0.25)))
    rows = {u: [o.choice for o in method.space.entries[u]["seg"]] for u in method.space.table.names}
    assert rows == {
        "stem": [0],
        "in1": [0, "skip"],
        "in2": [0, View(channels=0.5), "skip"],
        "in3": [0, View(channels=2 / 3), View(channels=1 / 3), "skip"],
    }
    assert method.option_names == ("all", "0.5", "0.4", "0.25", "none")
    method.model.set_policy({"seg": torch.tensor([[0.0, 1, 0, 0], [0, 1, 2, 0], [0, 1, 2, 3]])})
    shown = method.policy()
    p = dict(zip(shown.units, shown.probabilities[:, 2], strict=True))
    assert shown.options == method.option_names
    three, four = (np.exp(np.arange(n)) / np.exp(np.arange(n)).sum() for n in (3, 4))
    assert p["in1"].tolist() == pytest.approx([1 / (1 + math.e), 0, 0, 0, math.e / (1 + math.e)])
    assert p["in2"].tolist() == pytest.approx([three[0], three[1], 0, 0, three[2]])
    assert p["in3"].tolist() == pytest.approx([four[0], four[1], four[2], 0, four[3]])


def test_without_a_skip_the_least_is_a_view() -> None:
    method = made("residual", skip=False, widths=(0.5,))
    assert {len(row["seg"]) for unit_name, row in method.space.entries.items() if unit_name != "stem"} == {2}
    assert method.option_names == ("all", "0.5")


def test_the_stem_always_runs() -> None:
    """Even where it could be skipped: no task is left with the bare image."""
    b = GraphBuilder("even")
    x = b.image("image", (3, 16, 16))
    for name in ("stem", "next"):
        x = b.node("Relu", [conv(b, x, name, 3)], name=f"{name}_relu")
    method = DEN(replace(setup_for("chain"), backbone=Backbone(b.finish([x])), heads={}), DENOptions())
    assert {choice.place for choice in method.space.choices} == {"next"}


@pytest.mark.abuse
def test_nothing_to_narrow_is_refused() -> None:
    """A chain that widens: no map between two convolutions of a block, and no shortcut."""
    b = GraphBuilder("growing")
    x = b.image("image", (3, 16, 16))
    for number in range(3):
        x = b.node("Relu", [conv(b, x, f"conv{number}", 4 + number)], name=f"relu{number}")
    setup = replace(setup_for("chain"), backbone=Backbone(b.finish([x])), heads={})
    with pytest.raises(InvalidConfig, match='search.method: no block of "growing" has a map between two'):
        DEN(setup, DENOptions())
    with pytest.raises(InvalidConfig, match='search.method: no block of "chain"'):
        DEN(replace(setup, backbone=Backbone(chain())), DENOptions(skip=False))


@pytest.mark.abuse
@pytest.mark.parametrize("widths", [(0.0,), (1.0, 0.5), (-0.5,), (math.nan,)])
def test_widths_are_shares(widths: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="a width is a share between 0 and 1"):
        DENOptions(widths=widths)
    assert DENOptions(widths=(0.25, 0.5, 0.25)).widths == (0.5, 0.25)


def test_the_file_is_cut(tmp_path: Path) -> None:
    """Three widths of one block: three pairs of convolutions with as many channels, and no slice at run time."""
    method = made("residual")
    shaken(method)
    picks = {choice: TASKS.index(choice.task) if choice.place == "a1" else 0 for choice in method.space.choices}
    lowered = lower(method.space.plan(picks), method.setup.backbone, method.setup.heads)
    weights = {key: tensor.numpy() for key, tensor in method.model.weights(lowered).items()}
    exported = export_model(lowered.graph, weights, tmp_path / "model.onnx", parity_inputs=4)
    assert exported.parity.passed
    model = onnx.load(tmp_path / "model.onnx")
    shapes = {init.name: tuple(init.dims) for init in model.graph.initializer}
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "Add"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv" and node.name.startswith(("a1", "a2"))]
    kernels = sorted(shapes[node.input[1]] for node in convolutions)
    assert kernels == sorted([*((k, 8, 3, 3) for k in (8, 4, 2)), *((8, k, 3, 3) for k in (8, 4, 2))])
    cost = executed_cost(method.space.plan(picks), method.setup.backbone, method.setup.heads)
    assert count_file(tmp_path / "model.onnx").macs == cost.total.macs


@pytest.mark.parametrize("selector", ["score", "gumbel"])
def test_a_run_of_three_tasks(selector: str, tmp_path: Path) -> None:
    """Through the real command: the file has parity, and counts what its plan executes."""
    search = f'method = "den"\nselector = "{selector}"\nwarm_up = 2\nsteps = 5\nalternate = [2, 1]\ncost_weight = 0.1'
    result, plan = run_three(tmp_path, search)
    assert plan["method"] == "den" and plan["tie"]
    assert result["train"]["steps"] == {"search": 3, "teacher": 0, "train": 2}
    assert not result["train"]["alike"]
