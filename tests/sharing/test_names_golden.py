"""Golden: backbones whose names look like ours, our own files read again, and what a model says of its owners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from automtl_model import AutoMTL, AutoMTLOptions
from backbones import BACKBONES, conv, unit
from plans import TASKS, light_heads, random_plan

from trunkline.export.formats.onnx_model import write_onnx
from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.cost import graph_cost
from trunkline.graph.features import cut_graph
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import HEAD, Graph, name_of, shape_of
from trunkline.ingest.read import read
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.origin import BackboneWeight, FragmentWeight, SkipWeight
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.units import find_units
from trunkline.supermodel.decision import Sampling
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden


def readers(graph: Graph, name: str) -> list[str]:
    return [name_of(node) for node, _ in graph.initializers[name].uses()]


def detector() -> Graph:
    """A backbone whose layers are called like the head of a task, as in timm and in detectors' necks."""
    b = GraphBuilder("detector")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 8, stride=2)
    return b.finish([unit(b, unit(b, x, "head.a.reduce", 8), "head.a.mix", 8)])


def test_layers_called_head_are_backbone() -> None:
    """What a node belongs to is read off its metadata: no head is counted twice, no layer as a head."""
    backbone = detector()
    heads = {task: make_head("light", backbone, 2) for task in "ab"}
    cost = executed_cost(all_shared(backbone, ["a", "b"]), backbone, heads)
    assert cost.backbone == graph_cost(backbone)
    assert cost.heads.macs == 2 * graph_cost(heads["a"]).macs
    assert cost.relative == (0.5, 0.5)


def test_a_budget_counts_layers_called_head() -> None:
    """The fully shared plan runs 0.5 of two backbones: a budget of 0.4 is out of reach."""
    backbone = detector()
    sampling = Sampling(kind="argmax", max_macs=0.4)
    model = AutoMTL(backbone, {}, ["a", "b"], AutoMTLOptions(prefer_shared=3.0, sampling=sampling))
    with pytest.raises(Exception, match="cheapest runs 0.500 of the MACs"):
        model.decide()


def numbered() -> Graph:
    """Weights in the form that our own export writes: ``conv1.weight`` and another layer's ``conv1.weight@1``."""
    b = GraphBuilder("numbered")
    x, attributes = b.image("image", (3, 16, 16)), {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}
    for node, weight in (("conv0", "conv0.weight"), ("one", "conv1.weight"), ("two", "conv1.weight@1")):
        w = b.weight(weight, (4, int(shape_of(x)[1] or 0), 3, 3), Filler("msra"))
        x = b.node("Relu", [b.node("Conv", [x, w], name=node, attributes=attributes)], name=f"{node}_relu")
    return b.finish([x])


def test_number_in_a_name_ties_nothing() -> None:
    """``conv1.weight@1`` is a layer's own weight here, not instance 1 of ``conv1.weight``."""
    backbone = numbered()
    lowered = lower(independent(backbone, ["a", "b"]), backbone, {})
    assert graph_cost(lowered.graph).parameters == 2 * graph_cost(backbone).parameters
    assert readers(lowered.graph, "conv1.weight@1") == ["two@a"]
    assert readers(lowered.graph, "conv1.weight@1_2") == ["one@b"]
    assert lowered.origin["conv1.weight@1"] == BackboneWeight("conv1.weight@1", 0, "a")
    assert lowered.origin["conv1.weight@1_2"] == BackboneWeight("conv1.weight", 1, "b")
    assert readers(lowered.graph, "conv1.weight@1@1") == ["two@b"]


def test_weight_called_like_a_heads() -> None:
    """The backbone keeps its name ``head.a.conv1.weight``; the head's weight gets a number."""
    b = GraphBuilder("clash")
    x = conv(b, b.image("image", (3, 16, 16)), "stem", 64)
    backbone = b.finish([conv(b, x, "head.a.conv1", 64, kernel=1)])
    lowered = lower(all_shared(backbone, ["a"]), backbone, {"a": make_head("light", backbone, 1)})
    assert readers(lowered.graph, "head.a.conv1.weight") == ["head.a.conv1"]
    assert readers(lowered.graph, "head.a.conv1.weight_2") == ["head.a.conv1_2"]
    assert lowered.origin["head.a.conv1.weight_2"] == FragmentWeight(HEAD, "a", "conv1.weight")
    assert Twin(lowered.graph).weights().keys() == lowered.origin.keys()


def test_task_called_like_a_weight() -> None:
    """The outputs have the tasks' names; what the backbone called so is renamed."""
    b = GraphBuilder("odd")
    weight = b.weight("depth", (4, 3, 1, 1), Filler())
    x = b.node("Conv", [b.image("seg", (3, 8, 8)), weight], name="conv", outputs=["normals"])
    backbone = b.finish([b.node("Relu", [x], name="depth", outputs=["last"])])
    lowered = lower(all_shared(backbone, TASKS), backbone, {})
    assert [name_of(value) for value in lowered.graph.outputs] == list(TASKS)
    assert lowered.origin == {"depth.value": BackboneWeight("depth", 0, "depth")}
    assert name_of(lowered.graph.input) == "seg.value"


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("made", ["tree", "searched"])
def test_our_own_file_is_a_backbone(name: str, made: str, tmp_path: Path) -> None:
    """Written with two tasks, read again and shared anew: right parameters, right MACs, nothing tied by a name."""
    first = BACKBONES[name]()
    plan = share_until(first, ["a", "b"], "0") if made == "tree" else random_plan(first, ["a", "b"], 3)
    path = write_onnx(lower(plan, first, {}).graph, tmp_path / "m.onnx", fold=False, reuse=False)
    again = cut_graph(read(path), ["b"])
    one = graph_cost(again)
    for layout, copies in ((independent, 2), (all_shared, 1)):
        cost = executed_cost(layout(again, ["b", "c"]), again)
        assert (cost.backbone.macs, cost.backbone.parameters) == (copies * one.macs, copies * one.parameters)
        assert cost.heads.macs == 0
    blocks = find_units(again, "block")
    for last, block in enumerate(blocks):
        cost = executed_cost(share_until(again, ["b", "c"], block.name), again)
        assert cost.backbone.macs == sum((1 if i <= last else 2) * b.cost.macs for i, b in enumerate(blocks))


def tied_in_the_file() -> Graph:
    """Two convolutions that read one weight, a layer of another weight between them."""
    b = GraphBuilder("siamese")
    tied, attributes = b.weight("tied", (4, 4, 3, 3), Filler("msra")), {"kernel_shape": [3, 3], "pads": [1] * 4}
    x = conv(b, b.image("image", (3, 8, 8)), "stem", 4)
    x = b.node("Relu", [b.node("Conv", [x, tied], name="first", attributes=attributes)], name="first_relu")
    x = b.node("Relu", [conv(b, x, "between", 4)], name="between_relu")
    return b.finish([b.node("Conv", [x, tied], name="second", attributes=attributes)])


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_tie_of_the_file_stays_in_columns(order: tuple[str, str]) -> None:
    """Shared up to ``between``, then apart: one column keeps the tie, the other has a copy, whoever comes first."""
    backbone = tied_in_the_file()
    rows = {unit.name: {"a": 0, "b": 0} for unit in find_units(backbone, "block")}
    rows["between"] = dict(zip(order, (0, 1), strict=True))
    rows["second"] = dict(zip(order, (0, 1), strict=True))
    lowered = lower(make_plan(backbone, ["a", "b"], rows, granularity="block", tie=False), backbone, {})
    tied = {name: readers(lowered.graph, name) for name, origin in lowered.origin.items() if origin.name == "tied"}
    assert tied == {"tied": ["first", f"second@{order[0]}"], "tied@1": [f"second@{order[1]}"]}


def test_tied_weight_is_cloned_too() -> None:
    """Both columns read it at ``first``, for one input; at ``second`` they have two, so one of them needs a clone."""
    backbone = tied_in_the_file()
    rows = {unit.name: {"a": 0, "b": 0} for unit in find_units(backbone, "block")}
    rows["between"] = {"a": 0, "b": 1}
    lowered = lower(make_plan(backbone, ["a", "b"], rows, granularity="block", tie=False), backbone, {})
    tied = {name: readers(lowered.graph, name) for name, origin in lowered.origin.items() if origin.name == "tied"}
    assert tied == {"tied": ["first", "second@a"], "tied~b": ["second@b"]}


def odd_head(weight: str) -> Graph:
    b = GraphBuilder("odd head")
    x, attributes = b.image("features", (4, 16, 16)), {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4}
    return b.finish([b.node("Conv", [x, b.weight(weight, (4, 4, 1, 1), Filler())], name="out", attributes=attributes)])


def test_one_name_for_two_weights_misleads_nobody() -> None:
    """A head's weight and a copy of the backbone's want one name, and search and model settle it otherwise."""
    b = GraphBuilder("clash")
    x, weight = conv(b, b.image("image", (3, 16, 16)), "stem", 4), b.weight("head.a.w", (4, 4, 1, 1), Filler())
    attributes = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4}
    backbone = b.finish([b.node("Conv", [x, weight], name="last", attributes=attributes)])
    heads = dict.fromkeys("ab", odd_head("w@1"))
    model = AutoMTL(backbone, heads, ("a", "b"))
    of_head, of_backbone = FragmentWeight(HEAD, "a", "w@1"), BackboneWeight("head.a.w", 1)
    # Where no task has the copy, the head has the name to itself; in the search the copy was there first.
    for instance, wanted in ((1, {of_head, of_backbone}), (0, {of_head})):
        rows = {"stem": {"a": 0, "b": 0}, "last": {"a": 0, "b": instance}}
        lowered = lower(make_plan(backbone, ["a", "b"], rows), backbone, heads)
        disputed = {name: origin for name, origin in lowered.origin.items() if name.startswith("head.a.w@1")}
        assert set(disputed.values()) == wanted
        given = model.weights(lowered)
        for name, origin in disputed.items():
            assert given[name].data_ptr() == model.store.at(origin).data_ptr()
    assert any(given[name].data_ptr() != model.store.weights()[name].data_ptr() for name in disputed)


def test_nodes_and_weights_say_their_owners() -> None:
    """Part, unit, instance and tasks stand in the metadata."""
    backbone = BACKBONES["chain"]()
    rows = {u.name: {"a": 0, "b": 0} for u in find_units(backbone)}
    rows |= {"conv1": {"a": 0, "b": 2}, "conv2": {"a": "skip", "b": 0}}
    heads = light_heads(backbone, ("a", "b"))
    graph = lower(make_plan(backbone, ["a", "b"], rows), backbone, heads).graph
    said = {name_of(item): said_by(item) for item in (*graph.nodes, *graph.initializers.values())}
    assert said["conv0"] == "backbone conv0 0 a,b"
    assert said["conv0.weight"] == "backbone conv0 0 a,b"
    assert said["conv1@b"] == said["conv1.weight@2"] == "backbone conv1 2 b"
    assert said["relu1@a"] == "backbone - - a"
    assert said["conv2.skip@a"] == said["conv2.skip.weight@a"] == "skip conv2 - a"
    assert said["valid@a"] == "backbone valid 0 a"
    assert said["valid.weight"] == "backbone valid 0 a,b"  # two nodes read it
    assert said["head.b.conv1"] == said["head.b.conv1.weight"] == "head - - b"
    assert graph.model.metadata_props["trunkline.tasks"] == "a,b"


def said_by(item: object) -> str:
    keys = ("part", "unit", "instance", "tasks")
    return " ".join(item.metadata_props.get(f"trunkline.{key}", "-") for key in keys)


def test_both_nodes_of_a_skip_say_so() -> None:
    """A skip that crops and projects is two nodes, whose tensors get out of the way of the backbone's names."""
    b = GraphBuilder("cropped")
    x = conv(b, b.image("image", (3, 12, 12)), "stem", 4)
    x = conv(b, b.node("Relu", [x], name="valid.skip@b.crop.starts"), "valid", 8, pad=0)
    backbone = b.finish([x])
    plan = make_plan(backbone, ["a", "b"], {"stem": {"a": 0, "b": 0}, "valid": {"a": 0, "b": "skip"}})
    lowered = lower(plan, backbone, {})
    skips = [node for node in lowered.graph.nodes if said_by(node).startswith("skip")]
    assert [node.op_type for node in skips] == ["Slice", "Conv"]
    assert {said_by(node) for node in skips} == {"skip valid - b"}
    assert lowered.origin["valid.skip.weight@b"] == SkipWeight("valid", "b")
    starts = skips[0].inputs[1]
    assert name_of(starts) != "valid.skip@b.crop.starts"
    assert np.array_equal(starts.const_value.numpy(), [1, 1])
