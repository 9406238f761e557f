"""Properties of several feature maps: supermodel = lowered twin = exported ONNX, and every task reads its own maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from agreement import relative, run_onnx, shaken
from automtl_model import AutoMTL
from backbones import BACKBONES, conv, small_head, two_taps, unit
from plans import TASKS, choose, of_any_column, random_plan

from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.fragments.heads.make_head import head_kinds, make_head
from trunkline.graph.blocks import find_blocks
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.cost import graph_cost
from trunkline.graph.features import cut_graph
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.graph.verify import verify
from trunkline.ingest.backbone import read_backbone
from trunkline.ingest.read import read
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.executed_cost import cost_of_lowered
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.skip import skips_of
from trunkline.sharing.units import find_units
from trunkline.twins.twin import Twin

SEEDS = range(100)
READ_ALL = [name for name, kind in head_kinds().items() if kind.reads_all]


def heads_of(backbone: Graph) -> dict[str, Graph]:
    """One task reads both maps, one the last, one has no head."""
    return {TASKS[0]: small_head(backbone, 2), TASKS[1]: make_head("light", backbone, 3)}


def images(size: int = 16) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(7))


@pytest.mark.properties
def test_hundred_plans_agree_everywhere(tmp_path: Path) -> None:
    backbone = two_taps()
    heads = heads_of(backbone)
    model = shaken(AutoMTL(backbone, heads, TASKS))
    image = images()
    for seed in SEEDS:
        plan = random_plan(backbone, TASKS, seed, sharing=(0.3, 0.6, 0.9)[seed % 3])
        choose(model, plan)
        found = lower(plan, backbone, heads)
        lowered, weights = found.graph, {name: tensor.numpy() for name, tensor in model.weights(found).items()}
        with torch.no_grad():
            searched, deployed = model(image), Twin(lowered, weights=weights).eval()(image)
        exported = run_onnx(write_onnx(lowered, tmp_path / "model.onnx", weights=weights), image)
        for task in TASKS:
            assert relative(searched[task], deployed[task]) < 1e-5, (seed, task)
            assert relative(exported[task], deployed[task]) < 1e-4, (seed, task)


@pytest.mark.properties
def test_task_reads_its_own_maps() -> None:
    """The first task skips the block before the fine map: its head must see the skipped value, not the others'."""
    backbone = two_taps()
    head = small_head(backbone, 2)
    tasks = ("skipping", "running")
    plan = all_shared(backbone, tasks)
    rows = {u.name: {"skipping": "skip" if u.name in ("a1", "a2") else 0, "running": 0} for u in find_units(backbone)}
    plan = plan.model_copy(update={"granularity": "operator", "tie": True, "units": rows})
    found = lower(plan, backbone, dict.fromkeys(tasks, head))
    lowered, twin = found.graph, Twin(found.graph, seed=3).eval()
    stored = {of_any_column(found.origin[name]): tensor for name, tensor in twin.weights().items()}
    for task in tasks:
        alone = plan.model_copy(update={"tasks": (task,), "units": {u: {task: row[task]} for u, row in rows.items()}})
        single = lower(alone, backbone, {task: head})
        with torch.no_grad():
            given = {name: stored[of_any_column(origin)] for name, origin in single.origin.items()}
            expected = Twin(single.graph, weights=given).eval()(images())[task]
            assert relative(twin(images())[task], expected) < 1e-6
    reads = {n: lowered.node(f"head.{t}.low").inputs[0].name for t, n in zip(tasks, ("skip", "run"), strict=True)}
    assert reads["skip"] != reads["run"]


@pytest.mark.properties
def test_unit_mixing_keeps_every_map_alive() -> None:
    backbone = two_taps()
    model = AutoMTL(backbone, heads_of(backbone), TASKS)
    model.mode("average")
    model(images())[TASKS[0]].square().sum().backward()
    moved = {name for name, p in model.weight_parameters().items() if p.grad is not None}
    assert {"stem.weight", "a2.weight@1", "b2.weight@1", "head.depth.low.weight"} <= moved


@pytest.mark.properties
def test_maps_ride_along_with_the_blocks() -> None:
    """Four maps leave ResNet-34 its 17 blocks: a cut behind a map is still one tensor for all that goes on."""
    whole = read("zoo:deeplab_resnet34", input_size=(64, 64))
    middle = [name_of(n) for n in whole.nodes if name_of(n).endswith("_relu2")][:12:4]
    tapped = cut_graph(whole, [*middle, name_of(whole.outputs[0])])
    assert len(tapped.outputs) == 4
    assert [b.nodes for b in find_blocks(tapped)] == [b.nodes for b in find_blocks(whole)]
    assert len(find_blocks(tapped)) == 17


@pytest.mark.properties
def test_block_with_a_map_is_never_skipped() -> None:
    """A block with a feature map inside cannot be skipped."""
    backbone = two_taps()
    inside = cut_graph(backbone, ["a1_relu", "high"])
    for graph, skippable in ((backbone, True), (inside, False)):
        units = find_units(graph, "block")
        index = next(i for i, u in enumerate(units) if "a1" in u.nodes)
        assert (skips_of(graph, units, "block")[index] is not None) is skippable


@pytest.mark.properties
def test_side_branches_are_no_blocks() -> None:
    """Side branches that only lead to maps are no blocks of their own."""
    b = GraphBuilder("side")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 4, stride=2)
    side = conv(b, x, "side", 4, kernel=1)
    graph = b.finish([side, unit(b, unit(b, x, "c1", 4), "c2", 4)])
    blocks = find_blocks(graph)
    assert [block.name for block in blocks] == ["stem", "side", "c2"]
    for before, after in zip(blocks, blocks[1:], strict=False):
        assert before.output == after.input
    assert sum(len(block.nodes) for block in blocks) == len(graph.nodes)


@pytest.mark.properties
@pytest.mark.parametrize("kind", READ_ALL)
@pytest.mark.parametrize("size", [(64, 64), (72, 104)])
def test_heads_predict_at_the_finest_map(kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    backbone = read_backbone("zoo:mobilenetv2", input_size=size, taps=True)
    assert [shape_of(v)[2] for v in backbone.outputs] == [-(-size[0] // s) for s in (4, 8, 16, 32)]
    head = verify(make_head(kind, backbone, 5), maps=4)
    assert shape_of(head.outputs[0]) == (None, 5, *shape_of(backbone.outputs[0])[2:])
    with pytest.raises(InvalidModel, match="4 inputs; expected one image"):
        verify(head)
    lowered = lower(all_shared(backbone, ["a"]), backbone, {"a": head}).graph
    twin = Twin(lowered).eval()
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = twin(image)["a"]
    exported = run_onnx(
        write_onnx(lowered, tmp_path / "m.onnx", weights={n: t.detach().numpy() for n, t in twin.weights().items()}),
        image,
    )
    assert relative(exported["a"], expected) < 1e-4


@pytest.mark.properties
def test_coarse_map_reaches_every_prediction() -> None:
    """Each tap moves the output: none is left unread (the decoder reads the first and the last only)."""
    backbone = two_taps(32)
    for kind in READ_ALL:
        head = make_head(kind, backbone, 3)
        lowered = Twin(lower(all_shared(backbone, ["a"]), backbone, {"a": head}).graph).train()
        lowered(images(32))["a"].square().sum().backward()
        assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in lowered.trainable().values()), kind


@pytest.mark.properties
def test_costs_count_each_column_once() -> None:
    backbone = two_taps()
    heads = {task: small_head(backbone, 2) for task in TASKS}
    for plan, copies in ((all_shared(backbone, TASKS), 1), (independent(backbone, TASKS), 3)):
        cost = cost_of_lowered(lower(plan, backbone, heads).graph, backbone, heads, 3)
        assert cost.backbone.macs == copies * graph_cost(backbone).macs
    shared = lower(share_until(backbone, TASKS, "a1"), backbone, heads).graph
    assert [len(n.metadata_props["trunkline.tasks"].split(",")) for n in shared.nodes if n.name == "low"] == [3]


@pytest.mark.abuse
@pytest.mark.parametrize("kind", READ_ALL)
def test_one_map_is_too_few(kind: str) -> None:
    with pytest.raises(InvalidConfig, match="--features|backbone gives one"):
        make_head(kind, BACKBONES["chain"](), 3)


@pytest.mark.abuse
def test_wrong_number_of_maps_is_refused() -> None:
    """A head that reads another number of maps is refused."""
    backbone = two_taps()
    head = small_head(backbone, 2)
    single = cut_graph(backbone, ["high"])
    with pytest.raises(InvalidConfig, match="reads 2 feature maps, taps has 1"):
        lower(all_shared(single, ["a"]), single, {"a": head})
    with pytest.raises(InvalidConfig, match="reads 2 feature maps"):
        AutoMTL(single, {"a": head}, ["a"])
