"""Properties that every plan must pass: supermodel = lowered twin = exported ONNX, costs as predicted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from agreement import relative, run_onnx, shaken
from automtl_model import AutoMTL
from backbones import BACKBONES, unit
from parameters import parameter_count
from plans import TASKS, choose, light_heads, of_any_column, random_plan

from trunkline.errors import InvalidConfig
from trunkline.export.count import count_file
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.computed_weights import computes_weight
from trunkline.graph.cost import graph_cost, node_costs
from trunkline.graph.graph import TASKS_KEY, name_of
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import all_shared, independent, plan_of_layout, share_until
from trunkline.sharing.lowering.executed_cost import cost_of_lowered
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.skip import skips_of
from trunkline.sharing.units import find_units
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

SEEDS = range(34)  # times three backbones: a hundred plans


def images(count: int = 2, size: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(11))


def weights_of(model: AutoMTL, lowered: Lowered) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.weights(lowered).items()}


@pytest.mark.parametrize("name", BACKBONES)
def test_hundred_plans_agree_everywhere(name: str, tmp_path: Path) -> None:
    """Supermodel, lowered twin and exported file give the same outputs, and the costs are as counted in the file."""
    backbone = BACKBONES[name]()
    heads = light_heads(backbone)
    model = shaken(AutoMTL(backbone, heads, TASKS))
    image = images()
    for seed in SEEDS:
        plan = random_plan(backbone, TASKS, seed, sharing=(0.4, 0.7, 0.95)[seed % 3])
        choose(model, plan)
        found = lower(plan, backbone, heads)
        lowered, weights = found.graph, weights_of(model, found)
        twin = Twin(lowered, weights=weights).eval()
        with torch.no_grad():
            searched, deployed = model(image), twin(image)
        path = write_onnx(lowered, tmp_path / "model.onnx", weights=weights)
        exported = run_onnx(path, image)
        assert list(exported) == list(TASKS)
        for task in TASKS:
            assert relative(searched[task], deployed[task]) < 1e-5, (seed, task)
            assert relative(exported[task], deployed[task]) < 1e-4, (seed, task)
        cost = cost_of_lowered(lowered, backbone, heads, len(TASKS))
        counted = count_file(path)
        assert counted.macs == cost.total.macs == graph_cost(lowered).macs
        assert cost.total.parameters == parameter_count(lowered)
        # What tasks share is stored once, folded or not; but a file holds each computed weight, not what it is made of.
        if not any(map(computes_weight, lowered.nodes)):
            assert counted.parameters <= cost.total.parameters


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("kind", ["operators", "blocks"])
def test_unshared_plan_is_single_task_models(name: str, kind: str) -> None:
    """Bit for bit: columns that share nothing compute what models trained alone compute."""
    backbone = BACKBONES[name]()
    heads = light_heads(backbone)
    plan = independent(backbone, TASKS)
    if kind == "operators":
        plan = random_plan(backbone, TASKS, 0, sharing=0.0)
        rows = {u: {t: i + 1 for i, t in enumerate(TASKS)} for u in plan.units}
        plan = plan.model_copy(update={"units": rows})
    lowered = lower(plan, backbone, heads)
    together = Twin(lowered.graph, seed=5).eval()
    stored = {of_any_column(lowered.origin[name]): tensor for name, tensor in together.weights().items()}
    for number, task in enumerate(TASKS):
        instance = number + (kind == "operators")
        alone = lower(all_shared(backbone, [task]), backbone, {task: heads[task]})
        given = {name: stored[of_any_column(origin, instance)] for name, origin in alone.origin.items()}
        single = Twin(alone.graph, weights=given).eval()
        with torch.no_grad():
            assert torch.equal(single(images())[task], together(images(), [task])[task])


@pytest.mark.parametrize("name", BACKBONES)
def test_permuting_tasks_permutes_outputs(name: str) -> None:
    """The order of tasks changes the order of outputs and nothing else."""
    backbone = BACKBONES[name]()
    heads = light_heads(backbone)
    plan = random_plan(backbone, TASKS, 3)
    turned = plan.model_copy(update={"tasks": TASKS[::-1]})
    once, again = lower(plan, backbone, heads), lower(turned, backbone, heads)
    first = Twin(once.graph, seed=1).eval()
    stored = {of_any_column(once.origin[name]): tensor for name, tensor in first.weights().items()}
    second = Twin(again.graph, weights={name: stored[of_any_column(o)] for name, o in again.origin.items()}).eval()
    assert [name_of(value) for value in again.graph.outputs] == list(TASKS[::-1])
    with torch.no_grad():
        a, b = first(images()), second(images())
    for task in TASKS:
        assert torch.equal(a[task], b[task])


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("seed", [1, 2])
def test_loss_moves_only_its_tasks_nodes(name: str, seed: int) -> None:
    """A task's gradient reaches no weight whose metadata does not name the task."""
    backbone = BACKBONES[name]()
    heads = light_heads(backbone)
    graph = lower(random_plan(backbone, TASKS, seed), backbone, heads).graph
    twin = Twin(graph, seed=2)
    users: dict[str, set[str]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            if value is not None and value.is_initializer():
                users.setdefault(name_of(value), set()).update(node.metadata_props["trunkline.tasks"].split(","))
    for task in TASKS:
        twin.zero_grad(set_to_none=True)
        twin(images())[task].square().sum().backward()
        for weight, parameter in twin.trainable().items():
            moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            assert not moved or task in users[weight], weight


@pytest.mark.parametrize("name", BACKBONES)
def test_degenerate_plans_count_as_expected(name: str) -> None:
    """Fully shared costs one backbone, independent three, and heads are counted apart."""
    backbone = BACKBONES[name]()
    heads = light_heads(backbone)
    one = graph_cost(backbone)
    head_macs = sum(graph_cost(head).macs for head in heads.values())
    for plan, copies in ((all_shared(backbone, TASKS), 1), (independent(backbone, TASKS), 3)):
        lowered = lower(plan, backbone, heads).graph
        cost = cost_of_lowered(lowered, backbone, heads, 3)
        assert cost.backbone.macs == copies * one.macs
        assert cost.backbone.parameters == copies * one.parameters
        assert cost.heads.macs == head_macs
        assert cost.independent.macs == 3 * one.macs + head_macs


@pytest.mark.parametrize("name", BACKBONES)
def test_sharing_until_each_block_costs_prefix_once(name: str) -> None:
    """What all tasks share runs once; what lies behind, once for each task."""
    backbone = BACKBONES[name]()
    blocks = find_units(backbone, "block")
    for last, block in enumerate(blocks):
        lowered = lower(share_until(backbone, TASKS, block.name), backbone, {}).graph
        shared = sum(b.cost.macs for b in blocks[: last + 1])
        apart = sum(b.cost.macs for b in blocks[last + 1 :])
        assert graph_cost(lowered).macs == shared + 3 * apart


def test_tree_layout_and_its_untied_weights() -> None:
    """Two tasks part at block 1; whoever parted has its own weights from there on, whatever number it holds."""
    backbone = BACKBONES["residual"]()
    layout = [[["depth", "normals", "seg"]], [["depth", "seg"], ["normals"]], [["depth"], ["seg"], ["normals"]]]
    plan = plan_of_layout(backbone, Layout.of(TASKS, layout))
    assert plan.granularity == "block"
    lowered = lower(plan, backbone, {}).graph
    blocks = find_units(backbone, "block")
    assert graph_cost(lowered).macs == sum(n * b.cost.macs for n, b in zip((1, 2, 3), blocks, strict=True))
    assert graph_cost(lowered).parameters == sum(n * b.cost.parameters for n, b in zip((1, 2, 3), blocks, strict=True))
    remerged = plan.model_copy(update={"units": {**plan.units, "b1": dict.fromkeys(TASKS, 0)}})
    assert graph_cost(lower(remerged, backbone, {}).graph).parameters == sum(
        n * b.cost.parameters for n, b in zip((1, 2, 2), blocks, strict=True)
    )
    tied = remerged.model_copy(update={"tie": True})
    assert graph_cost(lower(tied, backbone, {}).graph).parameters == sum(
        n * b.cost.parameters for n, b in zip((1, 2, 1), blocks, strict=True)
    )


@pytest.mark.parametrize("name", BACKBONES)
def test_skipped_block_is_not_computed(name: str) -> None:
    """Where its input and its output have one shape nothing of it runs; elsewhere its shortcut, if it has one."""
    backbone = BACKBONES[name]()
    blocks = find_units(backbone, "block")
    plan = share_until(backbone, TASKS, blocks[-1].name)
    for block, skip in zip(blocks, skips_of(backbone, blocks, "block"), strict=True):
        rows = {**plan.units, block.name: dict.fromkeys(TASKS, "skip")}
        skipping = plan.model_copy(update={"units": rows})
        if skip is None:
            with pytest.raises(InvalidConfig):
                lower(skipping, backbone, {})
        else:
            kept = {"b_short", "b_short_bn"} if block.name == "b1" else set()
            assert skip.kind == ("shortcut" if kept else "identity")
            graph = lower(skipping, backbone, {}).graph
            assert set(block.nodes) & {name_of(node) for node in graph.nodes if not computes_weight(node)} == kept
            shortcut = sum(cost.macs for name, cost in node_costs(backbone).items() if name in kept)
            assert graph_cost(graph).macs == sum(b.cost.macs for b in blocks) - block.cost.macs + shortcut


def test_backbone_of_one_node_serves_all() -> None:
    """A backbone without weights has no units, and every task reads its only value."""
    b = GraphBuilder("one")
    image = b.image("image", (3, 8, 8))
    backbone = b.finish([b.node("GlobalAveragePool", [image], name="pool")])
    pools = [node for node in lower(all_shared(backbone, ("a", "b")), backbone, {}).graph.nodes if node.name == "pool"]
    assert [node.metadata_props[TASKS_KEY] for node in pools] == ["a,b"]


def test_a_dead_branch_of_a_skipped_block() -> None:
    """A node that no feature map needs may read a value that a task, which skips the block around it, lacks."""
    b = GraphBuilder("dead_branch")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 8)
    y = unit(b, x, "inner", 8)
    b.node("Sigmoid", [y], name="dead")
    x = b.node("Add", [x, unit(b, y, "outer", 8)], name="add")
    backbone = b.finish([unit(b, x, "last", 8)])
    plan = all_shared(backbone, TASKS)
    skipping = plan.model_copy(update={"units": {**plan.units, "inner": {**plan.units["inner"], "seg": "skip"}}})
    assert "dead" not in {node.name for node in lower(skipping, backbone, {}).graph.nodes}


def test_task_called_like_a_layer() -> None:
    """Outputs have the tasks' names, whatever the backbone's nodes are called."""
    backbone = BACKBONES["residual"]()
    tasks = ("a1", "b_relu", "image")
    lowered = lower(all_shared(backbone, tasks), backbone, {}).graph
    assert [name_of(value) for value in lowered.outputs] == list(tasks)
    outputs = Twin(lowered).eval()(images())
    assert torch.equal(outputs["a1"], outputs["image"])


def test_task_specific_batchnorm_leaves_nothing_to_reuse() -> None:
    """The release's rule, for comparison: after the first convolution the tasks' values differ."""
    backbone = BACKBONES["residual"]()
    units = find_units(backbone)
    rows = {unit.name: dict.fromkeys(TASKS, 0) for unit in units}
    plan = random_plan(backbone, TASKS, 0).model_copy(update={"units": rows, "batchnorm": "task"})
    macs = graph_cost(lower(plan, backbone, {}).graph).macs
    assert macs == units[0].cost.macs + 3 * sum(unit.cost.macs for unit in units[1:])


def test_metadata_says_whom_each_node_serves() -> None:
    """``trunkline.tasks`` names the tasks, in output order."""
    backbone = BACKBONES["residual"]()
    lowered = lower(share_until(backbone, TASKS, "a1"), backbone, light_heads(backbone)).graph
    served: Mapping[str, str] = {name_of(n): n.metadata_props["trunkline.tasks"] for n in lowered.nodes}
    assert served["stem"] == "depth,normals,seg"
    assert served["b1@seg"] == "seg"
    assert served["head.depth.conv1"] == "depth"
