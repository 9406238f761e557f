"""Cross-Stitch: Eq. 1 against its text, its start, and what it degenerates to."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from method_work import TASKS, THREE, ShakenWork, image, method_for, setup_for, shaken_weights

from trunkline.graph.graph import shape_of
from trunkline.recipe import Move, Optimiser, Phase, Turn
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.lower import lower
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.stages import block_ends, stage_ends
from trunkline.supermodel.work import Found
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden


def found_for(backbone: str, tasks: tuple[str, ...] = TASKS, **options: Any) -> tuple[Setup, Found]:
    setup = setup_for(backbone, tasks)
    return setup, method_for("cross-stitch", setup, None, **options).find(ShakenWork(setup))


def outputs(setup: Setup, found: Found) -> dict[str, torch.Tensor]:
    lowered = lower(found.plan, setup.backbone, setup.heads)
    twin = Twin(lowered.graph)
    twin.load_weights(found.start(lowered), strict=False)
    with torch.no_grad():
        return twin.eval()(image())


@pytest.mark.parametrize("backbone", THREE)
@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("sites", ["stages", "blocks"])
def test_identity_mixes_are_single_task_models(backbone: str, per: str, sites: str) -> None:
    """With α = 1 every column goes on with its own map alone: bit for bit what it was."""
    setup, found = found_for(backbone, alpha=1.0, per=per, sites=sites)
    lowered = lower(independent(setup.backbone, TASKS), setup.backbone, setup.heads)
    twin = Twin(lowered.graph, weights=shaken_weights(lowered)).eval()
    with torch.no_grad():
        alone = twin(image())
    for task, stitched in outputs(setup, found).items():
        assert torch.equal(stitched, alone[task])


@pytest.mark.parametrize("backbone", THREE)
def test_equal_columns_stay_equal(backbone: str) -> None:
    """Rows add up to 1, so columns with the same weights all compute the one network they are copies of."""
    setup, found = found_for(backbone, sites="blocks")
    lowered = lower(found.plan, setup.backbone, setup.heads)
    twin = Twin(lowered.graph).eval()
    weights = dict(twin.weights())
    first = {key: tensor for key, tensor in weights.items() if "@" not in key and not key.startswith(("head", "join"))}
    copies = {key: first[key.partition("@")[0].partition("~")[0]] for key in weights if "@" in key}
    twin.load_weights(copies, strict=False)
    ends = block_ends(setup.backbone)
    assert len(ends) > 1
    with torch.no_grad():
        values = twin.run_values(image())
    mixed = [value for name, value in values.items() if re.fullmatch(r"join\..*\.add\d+", name)]
    for position in range(0, len(mixed), 2 * len(TASKS)):
        last = mixed[position + 1 : position + 2 * len(TASKS) : 2]
        for other in last[1:]:
            torch.testing.assert_close(other, last[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("tasks", "own"), [(TASKS[:2], 0.9), (TASKS, 0.8)])
def test_start_of_the_mixes(tasks: tuple[str, ...], own: float) -> None:
    """α on the diagonal, (1−α)/(T−1) elsewhere, so that every row adds up to 1."""
    _, found = found_for("residual", tasks)
    for join in found.plan.joins:
        starts = join.settings["starts"]
        assert sum(starts) == pytest.approx(1)
        assert starts[tasks.index(join.task)] == pytest.approx(own)
        assert len(set(starts)) == 2


def test_equation_1_written_out() -> None:
    """At a site, column i goes on with Σ_j a_ij x^j of what the columns computed there."""
    setup, found = found_for("chain")
    lowered = lower(found.plan, setup.backbone, setup.heads)
    twin = Twin(lowered.graph, weights=shaken_weights(lowered)).eval()
    with torch.no_grad():
        values = twin.run_values(image())
    join = found.plan.joins[0]
    weights = twin.weights()
    nodes = [node for node in lowered.graph.nodes if (node.name or "").startswith(f"join.{join.name}.mul")]
    read = [values[node.inputs[0].name] for node in nodes]
    a = [weights[f"join.{join.name}.weight{index}"] for index in range(len(TASKS))]
    expected = sum(weight * value for weight, value in zip(a, read, strict=True))
    torch.testing.assert_close(values[f"join.{join.name}.add{len(TASKS) - 1}"], expected)


def test_sites_are_behind_stages_or_blocks() -> None:
    backbone = setup_for("mobile").backbone
    stages, blocks = stage_ends(backbone), block_ends(backbone)
    assert set(stages) <= set(blocks) and stages[-1] == blocks[-1]
    shapes = [backbone.shapes[value] for value in stages]
    assert all(before != after for before, after in zip(shapes, shapes[1:], strict=False))
    for sites, expected in (("stages", stages), ("blocks", blocks)):
        _, found = found_for("mobile", sites=sites)
        assert list(dict.fromkeys(join.site for join in found.plan.joins)) == expected
        assert len(found.plan.joins) == len(expected) * len(TASKS)


def test_channel_mixes_have_the_maps_width() -> None:
    """With a weight a channel, a mix stores as many as the map has channels."""
    setup, found = found_for("residual", per="channel")
    graph = lower(found.plan, setup.backbone, setup.heads).graph
    for join in found.plan.joins:
        channels = setup.backbone.shapes[join.site][1]
        assert shape_of(graph.initializers[f"join.{join.name}.weight0"]) == (1, channels, 1, 1)


def test_mixes_learn_faster_than_columns() -> None:
    """One phase in which joins move at a hundred times the rate, and all else as the pipeline says."""
    setup = setup_for("chain")
    move = Move(optimiser=Optimiser(lr=0.01), per_user=True)
    phase = Phase(name="post", steps=9, turns=(Turn(moves=(move,), joint=False),), clip_norm=3.0)
    setup = Setup(setup.backbone, setup.heads, setup.tasks, setup.kinds, setup.seed, phase, 4)
    found = method_for("cross-stitch", setup, None, rate_factor=50.0).find(ShakenWork(setup))
    assert found.goes_on and found.steps == 9
    (joint,) = found.phases
    assert joint.rates(0) == {"weights.backbone": 0.01, "weights.heads": 0.01, "weights.joins": pytest.approx(0.5)}
    assert (joint.steps, joint.clip_norm, joint.turns[0].joint) == (9, 3.0, False)
    assert all(one.per_user for one in joint.turns[0].moves)
