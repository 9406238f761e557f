"""Sluice Networks: mixes of subspaces and layers, the penalty by brute force, and what they degenerate to."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from backbones import gained, unit_of
from method_work import TASKS, THREE, ShakenWork, method_for, setup_for
from pydantic import ValidationError
from soft_methods import found_for, lowered_of, outputs, shaken, single_task, started, values
from three_tasks import run_three

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.export.exporter import export_model
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import INSTANCE_KEY
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.join import Read
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.sluice import Orthogonality, SluiceOptions, penalty
from trunkline.supermodel.methods.stages import block_ends, stage_ends

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("backbone", THREE)
def test_equation_written_out(backbone: str) -> None:
    """At every site the groups of all columns are α times the groups of all columns: one matrix of TS rows."""
    setup, found = found_for("sluice", backbone)
    twin = shaken(setup, found)
    computed, weights = values(twin), twin.weights()
    nodes = {node.name: node for node in lowered_of(setup, found).graph.nodes}
    for site in block_ends(setup.backbone):
        rows, mixed = [], []
        for task in TASKS:
            name = f"join.{site}.{task}"
            maps = [computed[value.name] for value in nodes[f"{name}.maps"].inputs]
            groups = torch.stack([half for x in maps for half in x.chunk(2, 1)])
            rows.append(torch.cat([weights[f"{name}.weight{number}"][:, :, 0, 0] for number in range(3)], 1))
            mixed += computed[f"{name}.map"].chunk(2, 1)
        expected = torch.einsum("or,rnchw->onchw", torch.cat(rows), groups)
        torch.testing.assert_close(torch.stack(mixed), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", THREE)
@pytest.mark.parametrize("subspaces", [1, 2])
@pytest.mark.parametrize("sites", ["stages", "blocks"])
def test_identity_sluices_are_single_task(backbone: str, subspaces: int, sites: str) -> None:
    """With α = I, and heads that read the last layer alone, every task computes what it did: bit for bit."""
    setup, found = found_for("sluice", backbone, alpha=1.0, beta=1.0, subspaces=subspaces, sites=sites)
    alone = single_task(setup)
    for task, sluiced in outputs(started(setup, found)).items():
        assert torch.equal(sluiced, alone[task])


@pytest.mark.parametrize("backbone", THREE)
def test_one_subspace_is_cross_stitch(backbone: str) -> None:
    """And so with the same α, and heads that read the last layer."""
    ours = outputs(started(*found_for("sluice", backbone, subspaces=1, beta=1.0, alpha=0.7)))
    theirs = outputs(started(*found_for("cross-stitch", backbone, sites="blocks", alpha=0.7)))
    for task in TASKS:
        torch.testing.assert_close(ours[task], theirs[task], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "tasks", "own", "other"),
    [
        ({}, TASKS[:2], 0.9, 0.1 / 3),
        ({}, TASKS, 0.8, 0.2 / 5),
        ({"subspaces": 1}, TASKS[:2], 0.9, 0.1),
        ({"alpha": 0.5}, TASKS, 0.5, 0.1),
        ({"start": "balanced"}, TASKS, 1 / 6, 1 / 6),
    ],
)
def test_start_of_the_mixes(options: dict[str, object], tasks: tuple[str, ...], own: float, other: float) -> None:
    """Rows add up to 1; a subspace starts mostly as itself, or as the mean of all."""
    _, found = found_for("sluice", "chain", tasks, **options)
    for join in (join for join in found.plan.joins if join.kind == "subspaces"):
        rows = np.concatenate([np.array(square) for square in join.settings["starts"]], axis=1)
        assert rows.sum(1) == pytest.approx(1)
        count, number = len(rows), tasks.index(join.task)
        expected = np.full(rows.shape, other)
        expected[range(count), range(number * count, (number + 1) * count)] = own
        np.testing.assert_allclose(rows, expected)


@pytest.mark.parametrize("sites", ["stages", "blocks"])
@pytest.mark.parametrize("backbone", THREE)
def test_heads_read_layers_of_one_shape(backbone: str, sites: str) -> None:
    """The last layers, as far back as they have the last one's shape: 0.9 of it, and 0.1 of all others together."""
    setup, found = found_for("sluice", backbone, sites=sites)
    ends = (stage_ends if sites == "stages" else block_ends)(setup.backbone)
    last, alike = setup.backbone.shapes[ends[-1]], []
    for end in reversed(ends):
        if setup.backbone.shapes[end] != last:
            break
        alike.insert(0, end)
    taps = [join for join in found.plan.joins if join.gives == "tap"]
    assert len(taps) == (len(TASKS) if len(alike) > 1 else 0)
    for tap in taps:
        assert tap.reads == tuple(Read.of(f"{end}.{tap.task}") for end in alike)
        starts = tap.settings["starts"]
        assert starts[-1] == 0.9 and sum(starts) == pytest.approx(1) and len(set(starts[:-1])) == 1


def test_some_network_has_layers_to_mix() -> None:
    """The head gets β-weighted layers as they are behind their mixes."""
    setup, found = found_for("sluice", "mobile", beta=0.6)
    tap = next(join for join in found.plan.joins if join.gives == "tap")
    computed = values(started(setup, found))
    layers = [computed[f"join.{read.join}.map"] for read in tap.reads]
    share = 0.4 / (len(layers) - 1)
    expected = 0.6 * layers[-1] + sum(share * layer for layer in layers[:-1])
    torch.testing.assert_close(computed[f"join.{tap.name}.add{len(layers) - 1}"], expected)


@pytest.mark.parametrize("form", ["paper", "small"])
@pytest.mark.parametrize("subspaces", [2, 3])
def test_penalty_by_brute_force(form: str, subspaces: int) -> None:
    """‖G_aᵀG_b‖² number by number, over all pairs of subspaces."""
    weight = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = weight.reshape(subspaces, 6 // subspaces, -1).numpy()
    expected = 0.0
    for a, b in itertools.combinations(range(subspaces), 2):
        product = rows[a].T @ rows[b] if form == "paper" else rows[a] @ rows[b].T
        expected += float(np.linalg.norm(product, "fro") ** 2)
    assert float(penalty(weight, subspaces, form)) == pytest.approx(expected, rel=1e-9)


def test_what_each_form_minds() -> None:
    """Duplicated rows cost in both; the small form costs nothing for orthogonal rows, the paper's does."""
    rows = torch.eye(4)
    twice = torch.cat([rows[:2], rows[:2]])
    assert float(penalty(twice, 2, "small")) == 2 and float(penalty(twice, 2, "paper")) == 2
    assert float(penalty(rows, 2, "small")) == 0 and float(penalty(rows, 2, "paper")) == 2
    columns = torch.tensor([[1.0, 2.0], [0, 0], [0, 0], [3.0, 1.0]])  # units of one subspace at a time
    assert float(penalty(columns, 2, "paper")) == 0 and float(penalty(columns, 2, "small")) == 25


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("chain", {"conv0.weight", "conv1.weight", "conv2.weight", "valid.weight"}),
        ("residual", {"stem.weight", "a2.weight", "b2.weight"}),
        ("mobile", {"stem.weight", "project0.weight", "expand1.weight", "project1.weight"}),
    ],
)
def test_the_penalty_is_on_every_columns_layers(backbone: str, expected: set[str]) -> None:
    """On the last convolution of each block, in each column, however weights are called."""
    setup, found = found_for("sluice", backbone)
    lowered, term = lowered_of(setup, found), found.terms["orthogonality"]
    assert isinstance(term, Orthogonality)
    origins = [lowered.origin[name] for name in term.names]
    assert Counter(origin.name for origin in origins) == dict.fromkeys(expected, len(TASKS))
    marks = {lowered.graph.initializers[name].metadata_props[INSTANCE_KEY] for name in term.names}
    assert len(marks) == len(TASKS)
    weights = shaken(setup, found).trainable()
    total = sum(float(penalty(weights[name].detach(), 2, "paper")) for name in term.names)
    units = sum(len(weights[name]) / 2 for name in term.names)
    value = term(weights)
    assert float(value.detach()) == pytest.approx(total / units, rel=1e-5)
    value.backward()
    assert {name for name, weight in weights.items() if weight.grad is not None} == set(term.names)


def test_the_phase_carries_the_term() -> None:
    setup, found = found_for("sluice", "chain", orthogonality=0.25, rate_factor=10.0)
    (phase,) = found.phases
    assert phase.turns[0].terms == {"orthogonality": 0.25} and set(found.terms) == {"orthogonality"}
    rate = setup.phase.rates(0)["weights"]
    assert phase.rates(0)["weights.joins"] == pytest.approx(10 * rate)
    for options in ({"orthogonality": 0.0}, {"subspaces": 1}):
        _, without = found_for("sluice", "chain", **options)
        assert not without.terms and not without.phases[0].turns[0].terms
    _, small = found_for("sluice", "chain", orthogonality_form="small")
    assert small.terms["orthogonality"].form == "small"


def test_networks_that_cannot_are_told() -> None:
    """Widths that are not S equal parts; blocks without a stored kernel at their end."""
    with pytest.raises(InvalidConfig, match="joins.0.settings.starts: 4 channels are not 3 equal subspaces"):
        found_for("sluice", "chain", subspaces=3)
    setup = setup_for("chain")
    b = GraphBuilder("gained")
    graph = b.finish([unit_of(b, b.image("image", (3, 16, 16)), "stem", gained(b, "stem", 8, 3))])
    setup = Setup(Backbone(graph), {}, TASKS, setup.kinds, 0, setup.phase, 4)
    with pytest.raises(InvalidConfig, match="search.orthogonality: no block ends in a convolution with a stored"):
        method_for("sluice", setup, None).find(ShakenWork(setup))
    assert method_for("sluice", setup, None, orthogonality=0.0).find(ShakenWork(setup)).plan.joins


@pytest.mark.parametrize("backbone", THREE)
def test_files_are_lean(backbone: str, tmp_path: Path) -> None:
    """A site is one Concat and Reshape, and a convolution and a Reshape a column; its MACs are T·S·C·h·w a column."""
    setup, found = found_for("sluice", backbone)
    weights = {key: tensor.numpy() for key, tensor in shaken(setup, found).weights().items()}
    exported = export_model(lowered_of(setup, found).graph, weights, tmp_path / "model.onnx", parity_inputs=4)
    assert exported.parity.passed
    counted = count_file(tmp_path / "model.onnx")
    cost = executed_cost(found.plan, setup.backbone, setup.heads)
    assert counted.macs == exported.macs == cost.total.macs
    shapes = [setup.backbone.shapes[site][1:] for site in block_ends(setup.backbone)]
    mixed = [len(TASKS) ** 2 * 2 * c * h * w for c, h, w in shapes]
    assert cost.backbone.macs - cost.independent_backbone.macs == sum(mixed)
    graph = lower(independent(setup.backbone, TASKS), setup.backbone, setup.heads).graph
    export_model(graph, None, tmp_path / "alone.onnx", parity_inputs=1)
    added = Counter(counted.ops)
    added.subtract(count_file(tmp_path / "alone.onnx").ops)
    layers = sum(len(join.reads) for join in found.plan.joins if join.gives == "tap")
    expected = {
        "Concat": len(shapes),
        "Reshape": len(shapes) * (1 + len(TASKS)),
        "Conv": len(shapes) * len(TASKS),
        "Mul": layers,
        "Add": layers - len(TASKS) * bool(layers),
    }
    assert {op: n for op, n in added.items() if n} == {op: n for op, n in expected.items() if n}


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"beta": 1.5}, {"subspaces": 0}, {"orthogonality_form": "big"}])
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SluiceOptions.model_validate(wrong)


def test_a_pipeline_of_three_tasks(tmp_path: Path) -> None:
    """The real command: single-task models, sluices with their penalty, export with parity."""
    _, plan = run_three(tmp_path, "", 'preset = "sluice"')
    assert plan["method"] == "sluice" and {join["kind"] for join in plan["joins"]} == {"subspaces", "mix"}
    assert '"orthogonality"' in (tmp_path / "run/train/metrics.jsonl").read_text()
