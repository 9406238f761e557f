"""Where tasks may part: either direction of merging, points added and taken away, and plans that know the rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from agreement import relative
from backbones import BACKBONES, chain, two_taps, unit
from hypothesis import given
from hypothesis import strategies as st
from plans import of_any_column

from trunkline.errors import InvalidConfig
from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.blocks import Block, find_blocks
from trunkline.graph.branching import branching_candidates, branching_of, with_branching
from trunkline.graph.branching_rule import Branching
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.layers import is_layer
from trunkline.graph.segments import Segment, segments_of
from trunkline.ingest.read import read
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import plan_of_layout
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import check_plan
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties


def weightless_ends(size: int = 16) -> Graph:
    """Two activations before the first layer, two behind the last, two between: as preprocessing and pooling are."""
    b = GraphBuilder("ends")
    x = b.image("image", (3, size, size))
    for name in ("in", "middle", "out"):
        for half in ("a", "b"):
            x = b.node("Relu", [x], name=f"{name}_{half}")
        if name != "out":
            x = unit(b, x, f"conv_{name}", 4)
    return b.finish([x])


NETS = {**{make.__name__: make for make in (chain, two_taps, weightless_ends)}, "tiny": lambda: read("zoo:tiny")}
GRAPHS = {name: make() for name, make in NETS.items()}


def merged_one_by_one(segments: list[Segment], merge: str) -> list[set[str]]:
    """Merge as TreeMTL says it: each segment without layers joins a neighbour, until none is left."""
    found = [[segment] for segment in segments]

    def lacks(run: list[Segment]) -> bool:
        return not any(is_layer(node) for segment in run for node in segment.nodes)

    while len(found) > 1 and any(map(lacks, found)):
        index = next(i for i, run in enumerate(found) if lacks(run))
        # The first has no previous one, and the last no next one.
        forward = index == 0 or (merge == "next" and index < len(found) - 1)
        first = index if forward else index - 1
        found[first : first + 2] = [found[first] + found[first + 1]]
    return [{name_of(node) for segment in run for node in segment.nodes} for run in found]


def require_chain(graph: Graph, blocks: list[Block]) -> None:
    """Blocks hold every node once, in order, and each reads what the one before it hands on."""
    assert [node for block in blocks for node in block.nodes] == [
        name_of(node) for segment in segments_of(graph) for node in segment.nodes
    ]
    for before, after in zip(blocks, blocks[1:], strict=False):
        assert before.output == after.input


@pytest.mark.parametrize("merge", ["previous", "next"])
@pytest.mark.parametrize("name", [*NETS, "mobilenetv2", "residual"])
def test_merging_is_as_segment_by_segment(name: str, merge: str) -> None:
    graph = {**BACKBONES, **NETS}.get(name, lambda: read(f"zoo:{name}"))()
    ruled = with_branching(graph, Branching(merge))  # type: ignore[arg-type]
    blocks = find_blocks(ruled)
    assert [set(block.nodes) for block in blocks] == merged_one_by_one(segments_of(graph), merge)
    require_chain(ruled, blocks)


def test_both_directions_have_the_same_layers() -> None:
    graph = read("zoo:tiny")
    ours, theirs = find_blocks(graph), find_blocks(with_branching(graph, Branching("next")))
    assert [block.name for block in ours] == [block.name for block in theirs]
    assert [block.cost.macs for block in ours] == [block.cost.macs for block in theirs]
    assert "conv1_bn" in ours[0].nodes
    assert "conv1_bn" in theirs[1].nodes


@given(st.data())
def test_points_are_added_and_taken_away(data: st.DataObject) -> None:
    graph = GRAPHS[data.draw(st.sampled_from(sorted(GRAPHS)))]
    merge = data.draw(st.sampled_from(["previous", "next"]))
    names = st.lists(st.sampled_from(branching_candidates(graph)), unique=True, max_size=4)
    after, not_after = data.draw(names), data.draw(names)
    rule = Branching(merge, tuple(after), tuple(not_after))  # type: ignore[arg-type]
    kept = {block.output for block in find_blocks(with_branching(graph, Branching(merge)))[:-1]}  # type: ignore[arg-type]
    try:
        ruled = with_branching(graph, rule)
    except InvalidConfig as error:
        wrong = set(after) & set(not_after) or set(not_after) - kept
        assert wrong or "would have no weights" in str(error)
        return
    assert not set(after) & set(not_after) and set(not_after) <= kept
    blocks = find_blocks(ruled)
    require_chain(graph, blocks)
    assert {block.output for block in blocks[:-1]} == (kept | set(after)) - set(not_after)


def test_names_of_nodes_and_of_values_are_one_rule() -> None:
    graph = read("zoo:tiny")
    node = graph.node("conv1")
    by_value = with_branching(graph, Branching(after=(name_of(node.outputs[0]),)))
    assert branching_of(with_branching(graph, Branching(after=("conv1",)))) == branching_of(by_value)
    assert [block.name for block in find_blocks(by_value)][:2] == ["conv1", "conv1_bn"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Branching(after=("nonsense",)), 'no value or node "nonsense"'),
        (Branching(after=("stage1_block1_conv1",)), 'cannot part behind "stage1_block1_conv1"'),
        (Branching(not_after=("stage3_block2_relu2",)), 'cannot part behind "stage3_block2_relu2"'),
        (Branching(after=("conv1", "conv1_bn")), 'between "conv1_bn" and "conv1_relu" would have no weights'),
        (Branching("next", not_after=("stage1_block1_relu2",)), 'do not part behind "stage1_block1_relu2"'),
        (Branching(after=("conv1",), not_after=("conv1",)), '"conv1" is both a point and none'),
    ],
)
def test_what_is_no_branching_point_is_refused(rule: Branching, said: str) -> None:
    with pytest.raises(InvalidConfig, match="branching") as caught:
        with_branching(read("zoo:tiny"), rule)
    assert said in str(caught.value)


def test_plan_of_other_blocks_is_refused(tmp_path: Path) -> None:
    plain = Backbone(read("zoo:tiny"))
    ruled = Backbone(read("zoo:tiny", branching=Branching("next")))
    layout = Layout.all_shared(("a", "b"), 7)
    plan = plan_of_layout(ruled, layout)
    path = tmp_path / "plan.json"
    plan.save(path)
    assert SharingPlan.load(path) == plan
    check_plan(SharingPlan.load(path), ruled)
    with pytest.raises(InvalidConfig, match="for other blocks: merged with the next; those of this .* the previous"):
        check_plan(plan, plain)
    with pytest.raises(InvalidConfig, match="for other blocks"):
        check_plan(plan_of_layout(plain, layout), ruled)


@pytest.mark.parametrize(
    "rule",
    [Branching("next"), Branching(after=("conv1",)), Branching("next", not_after=("conv1", "stage2_block1_add"))],
)
def test_any_blocks_give_what_single_models_give(rule: Branching) -> None:
    backbone = Backbone(read("zoo:tiny", branching=rule, input_size=(32, 32)))
    tasks = ("a", "b", "c")
    depth = len(backbone.table("block").units)
    layout = Layout.all_shared(tasks, depth).cut(1, ["a"]).cut(depth // 2, ["b"])
    plan = plan_of_layout(backbone, layout)
    heads = {task: make_head("light", backbone.graph, 2) for task in tasks}
    found = lower(plan, backbone, heads)
    twin = Twin(found.graph, seed=3).eval()
    stored = {of_any_column(found.origin[name]): tensor for name, tensor in twin.weights().items()}
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        ours = twin(image)
    for task in tasks:
        units = {unit: {task: row[task]} for unit, row in plan.units.items()}
        alone = lower(plan.model_copy(update={"tasks": (task,), "units": units}), backbone, {task: heads[task]})
        weights = {name: stored[of_any_column(origin)] for name, origin in alone.origin.items()}
        with torch.no_grad():
            theirs = Twin(alone.graph, weights=weights).eval()(image)[task]
        assert relative(ours[task], theirs) < 1e-6
    # They do not all compute the same: otherwise any weights would do.
    assert not np.allclose(ours["a"], ours["b"])
