"""NDDR-CNN: its projection against the text, its start, its shortcut, and what it degenerates to."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch
from method_work import TASKS, THREE, image, method_for, setup_for
from pydantic import ValidationError
from soft_methods import found_for, lowered_of, outputs, shaken, single_task, started, values
from three_tasks import run_three

from trunkline.export.count import count_file
from trunkline.export.exporter import export_model
from trunkline.graph.graph import shape_of
from trunkline.ingest.read import read
from trunkline.recipe import Move, Optimiser, Phase, Turn
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Read
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.nddr import NDDR, NDDROptions
from trunkline.supermodel.methods.stages import block_ends, stage_ends

pytestmark = pytest.mark.golden

EPSILON = 1e-3


@pytest.mark.parametrize("backbone", THREE)
def test_equation_written_out(backbone: str) -> None:
    """At every site, column i goes on with act(BN(W_i [f^1, …, f^T])) of what the columns computed there."""
    setup, found = found_for("nddr", backbone, sites="blocks")
    twin = shaken(setup, found)
    computed, weights = values(twin), twin.weights()
    nodes = {node.name: node for node in lowered_of(setup, found).graph.nodes}
    for join in found.plan.joins:
        name = f"join.{join.name}"
        maps = [computed[value.name] for value in nodes[f"{name}.maps"].inputs]
        parts = [weights[f"{name}.weight{number}"][:, :, 0, 0] for number in range(len(TASKS))]
        total = sum(torch.einsum("oc,nchw->nohw", part, x) for part, x in zip(parts, maps, strict=True))
        scale, bias = (weights[f"{name}.norm.{key}"][:, None, None] for key in ("scale", "bias"))
        mean, var = (weights[f"{name}.norm.{key}~{join.name}"][:, None, None] for key in ("mean", "var"))
        expected = scale * (total - mean) / (var + EPSILON).sqrt() + bias
        torch.testing.assert_close(computed[f"{name}.norm"], expected, rtol=1e-4, atol=1e-5)
        if "activation" in join.settings:
            assert torch.equal(computed[f"{name}.act"], computed[f"{name}.norm"].clamp(min=0))


@pytest.mark.parametrize("backbone", THREE)
@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("sites", ["stages", "blocks"])
def test_identity_projections_are_single_task(backbone: str, sites: str, shortcut: bool) -> None:
    """With α = 1 and no BatchNormalization every column goes on with its own map: bit for bit what it was."""
    setup, found = found_for("nddr", backbone, alpha=1.0, normalise=False, sites=sites, shortcut=shortcut)
    alone = single_task(setup)
    for task, projected in outputs(started(setup, found)).items():
        assert torch.equal(projected, alone[task])


@pytest.mark.parametrize("backbone", THREE)
def test_a_fresh_normalisation_divides_by_little(backbone: str) -> None:
    """With α = 1, in evaluation, each site divides by √(1 + ε): 5e-4, and not nothing; also behind a linear end."""
    setup, found = found_for("nddr", backbone, alpha=1.0, sites="blocks")
    computed = values(started(setup, found))
    nodes = {node.name: node for node in lowered_of(setup, found).graph.nodes}
    for join in found.plan.joins:
        name = f"join.{join.name}"
        own = computed[nodes[f"{name}.maps"].inputs[TASKS.index(join.task)].name]
        end = computed[f"{name}.act" if "activation" in join.settings else f"{name}.norm"]
        torch.testing.assert_close(end, own / (1 + EPSILON) ** 0.5, rtol=1e-5, atol=1e-6)
        assert not torch.equal(end, own)


def test_in_training_it_is_no_identity() -> None:
    """A BatchNormalization that trains normalises by the batch, whatever α is."""
    setup, found = found_for("nddr", "chain", alpha=1.0)
    with torch.no_grad():
        trained = started(setup, found).train()(image())
    alone = single_task(setup)
    assert all(not torch.allclose(trained[task], alone[task], rtol=0.05, atol=0.05) for task in TASKS)


def test_relu_everywhere_cuts_linear_ends() -> None:
    """Behind a linear bottleneck the paper's ReLU loses what is negative; matching the block loses nothing."""
    alone = single_task(setup_for("mobile"))
    apart = {}
    for activation in ("match", "relu"):
        setup, found = found_for("nddr", "mobile", alpha=1.0, normalise=False, sites="blocks", activation=activation)
        ours = outputs(started(setup, found))
        apart[activation] = max(float((ours[task] - alone[task]).abs().max()) for task in TASKS)
    assert apart["match"] == 0 and apart["relu"] > 1e-2


@pytest.mark.parametrize(
    ("backbone", "option", "ends"),
    [
        ("chain", "match", {"Relu"}),
        ("mobile", "match", {"Relu", None}),
        ("mobile", "relu", {"Relu"}),
        ("chain", "none", {None}),
    ],
)
def test_activations_match_the_block(backbone: str, option: str, ends: set[str | None]) -> None:
    _, found = found_for("nddr", backbone, sites="blocks", activation=option)
    assert {join.settings.get("activation", {}).get("op") for join in found.plan.joins} == ends


def test_relu6_of_mobilenet_is_matched() -> None:
    """Its last block ends in a Clip to 6, its bottlenecks in nothing."""
    setup = setup_for("chain")
    setup = Setup(Backbone(read("zoo:mobilenetv2")), {}, TASKS, setup.kinds, 0, setup.phase, 4)
    joins = NDDR(setup, NDDROptions(sites="blocks")).joins()
    found = [join.settings.get("activation") for join in joins]
    assert {"op": "Clip", "bounds": [0.0, 6.0]} in found and None in found


@pytest.mark.parametrize(("tasks", "own"), [(TASKS[:2], 0.9), (TASKS, 0.8)])
def test_start_of_the_projections(tasks: tuple[str, ...], own: float) -> None:
    """α on the diagonal of a column's own part, (1−α)/(T−1) on that of the others'."""
    setup, found = found_for("nddr", "residual", tasks)
    weights = started(setup, found).weights()
    for join in found.plan.joins:
        for number, other in enumerate(tasks):
            share = own if other == join.task else (1 - own) / (len(tasks) - 1)
            kernel = weights[f"join.{join.name}.weight{number}"][:, :, 0, 0]
            torch.testing.assert_close(kernel, share * torch.eye(len(kernel)))


def test_equal_shares_give_equal_columns() -> None:
    """With α = 1/T all columns go on with the same map: the mean of all."""
    setup, found = found_for("nddr", "residual", alpha=1 / 3)
    computed = values(started(setup, found))
    first = found.plan.joins[0].site
    ends = [computed[f"join.{first}.{task}.conv"] for task in TASKS]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0])


@pytest.mark.parametrize("backbone", THREE)
def test_sites_are_stages_or_blocks(backbone: str) -> None:
    """Behind every block it is the NDDR supernet that MTL-NAS compares with."""
    network = setup_for(backbone).backbone
    for sites, expected in (("stages", stage_ends(network)), ("blocks", block_ends(network))):
        _, found = found_for("nddr", backbone, sites=sites)
        assert [(join.site, join.task) for join in found.plan.joins] == list(itertools.product(expected, TASKS))


@pytest.mark.parametrize("backbone", ["residual", "mobile", "chain"])
def test_shortcuts_read_all_results(backbone: str) -> None:
    """The head reads a projection of its task's results, the last one first, all of the last one's size."""
    setup, found = found_for("nddr", backbone, shortcut=True, sites="blocks")
    sites = block_ends(setup.backbone)
    taps = {join.task: join for join in found.plan.joins if join.gives == "tap"}
    assert set(taps) == set(TASKS)
    graph = lowered_of(setup, found).graph
    for task, tap in taps.items():
        assert tap.reads == tuple(Read.of(f"{site}.{task}") for site in reversed(sites))
        last = setup.backbone.shapes[sites[-1]]
        conv = graph.node(f"join.{tap.name}.conv")
        assert shape_of(conv.outputs[0]) == last
        channels = sum(setup.backbone.shapes[site][1] for site in sites)
        assert shape_of(conv.inputs[0]) == (None, channels, *last[2:])


def test_shortcuts_move_what_heads_read() -> None:
    """An earlier site's result reaches the head directly: with a weight of its own, that starts at 0."""
    setup, found = found_for("nddr", "residual", shortcut=True, sites="blocks")
    twin = started(setup, found)
    before = outputs(twin)
    earlier = twin.weights()["join.shortcut.depth.weight1"]
    assert not earlier.any()
    with torch.no_grad():
        earlier.add_(0.5)
    after = outputs(twin)
    assert {task for task in TASKS if not torch.allclose(after[task], before[task])} == {"depth"}


def test_rates_of_the_joint_phase() -> None:
    """Projections a hundred times as fast, heads as they are told, and all else as the pipeline says."""
    setup = setup_for("chain")
    move = Move(optimiser=Optimiser(lr=0.01), per_user=True)
    phase = Phase(name="post", steps=9, turns=(Turn(moves=(move,), joint=False),), clip_norm=3.0)
    setup = Setup(setup.backbone, setup.heads, setup.tasks, setup.kinds, setup.seed, phase, 4)
    found = method_for("nddr", setup, None, head_rate_factor=10.0).find(Silent())
    assert found.goes_on and found.steps == 9
    (joint,) = found.phases
    assert joint.rates(0) == {
        "weights.backbone": pytest.approx(0.01),
        "weights.heads": pytest.approx(0.1),
        "weights.joins": pytest.approx(1.0),
    }
    assert (joint.steps, joint.clip_norm, joint.turns[0].joint) == (9, 3.0, False)
    assert NDDROptions().head_rate_factor == 1.0


class Silent:
    """Work whose training nobody looks at."""

    def train(self, *arguments: object, **named: object) -> Silent:
        return self

    start = None


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("backbone", THREE)
def test_files_are_lean(backbone: str, shortcut: bool, tmp_path: Path) -> None:
    """A site is one Concat, and a convolution and an activation for each column; its MACs are T·C·C·h·w a column."""
    setup, found = found_for("nddr", backbone, sites="blocks", shortcut=shortcut)
    weights = {key: tensor.numpy() for key, tensor in shaken(setup, found).weights().items()}
    graph = lowered_of(setup, found).graph
    exported = export_model(graph, weights, tmp_path / "model.onnx", parity_inputs=4)
    assert exported.parity.passed
    counted = count_file(tmp_path / "model.onnx")
    cost = executed_cost(found.plan, setup.backbone, setup.heads)
    assert counted.macs == exported.macs == cost.total.macs
    shapes = [setup.backbone.shapes[site][1:] for site in block_ends(setup.backbone)]
    projected = [len(TASKS) ** 2 * c * c * h * w for c, h, w in shapes]
    c_end, h_end, w_end = shapes[-1]
    heads = len(TASKS) * c_end * sum(c for c, _, _ in shapes) * h_end * w_end if shortcut else 0
    assert cost.backbone.macs - cost.independent_backbone.macs == sum(projected) + heads
    added = Counter(counted.ops)
    added.subtract(single_task_operators(setup, tmp_path))
    sites, taps = len(shapes), len(TASKS) * shortcut
    ended = sum("activation" in join.settings for join in found.plan.joins)
    resized = len(TASKS) * sum(shape[1:] != shapes[-1][1:] for shape in shapes) * shortcut
    expected = {"Concat": sites + taps, "Conv": len(TASKS) * sites + taps, "Relu": ended, "Resize": resized}
    assert {op: n for op, n in added.items() if n} == {op: n for op, n in expected.items() if n}


def single_task_operators(setup: Setup, folder: Path) -> Counter[str]:
    graph = lower(independent(setup.backbone, TASKS), setup.backbone, setup.heads).graph
    export_model(graph, None, folder / "alone.onnx", parity_inputs=1)
    return Counter(count_file(folder / "alone.onnx").ops)


def test_one_site_needs_no_shortcut() -> None:
    setup, found = found_for("nddr", "chain", shortcut=True)
    taps = [join for join in found.plan.joins if join.gives == "tap"]
    assert len(stage_ends(setup.backbone)) > 1 and len(taps) == len(TASKS)
    alone = method_for("nddr", setup_for("chain", TASKS[:1]), None, shortcut=True)
    assert alone.joins() == []


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": 1.5}, {"sites": "layers"}, {"rate_factor": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NDDROptions.model_validate(wrong)


@pytest.mark.slow  # of a whole run; those of sluice, den and distilled are in the default suite
def test_a_pipeline_of_three_tasks(tmp_path: Path) -> None:
    """The real command: single-task models, projections, export with parity, the cost as counted in the file."""
    _, plan = run_three(tmp_path, "shortcut = true", 'preset = "nddr"')
    assert plan["method"] == "nddr" and {join["kind"] for join in plan["joins"]} == {"project"}
