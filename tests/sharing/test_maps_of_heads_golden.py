"""What heads of a lowered model read, whatever its plan is: the values that give the outputs when heads read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from backbones import BACKBONES, small_head, two_taps, unit
from method_work import TASKS, image, setup_for, shaken_weights
from plans import light_heads, random_plan
from soft_methods import found_for

from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph
from trunkline.graph.owners import maps_of_heads
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import FragmentWeight
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.train.loop.taught_model import lessons_of
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.golden

PLANS: Mapping[str, Callable[[Graph], SharingPlan]] = {
    "shared": lambda backbone: all_shared(backbone, TASKS),
    "independent": lambda backbone: independent(backbone, TASKS),
    "trunk": lambda backbone: share_until(backbone, TASKS, "0"),
    "random": lambda backbone: random_plan(backbone, TASKS, 3),
}


def assert_heads_read(lowered: Lowered, heads: Mapping[str, Graph]) -> None:
    """Each head, run by itself on the value that it is said to read, gives the output of its task."""
    twin = Twin(lowered.graph, weights=shaken_weights(lowered)).eval()
    with torch.no_grad():
        computed = twin.run_values(image())
    stored = twin.weights()
    for task, maps in maps_of_heads(lowered.graph).items():
        assert len(set(maps)) == 1
        own = {
            origin.name: stored[name]
            for name, origin in lowered.origin.items()
            if isinstance(origin, FragmentWeight) and (origin.part, origin.owner) == ("head", task)
        }
        (head,) = Twin(heads[task], weights=own).eval()(computed[maps[0]]).values()
        torch.testing.assert_close(head.detach(), computed[task], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backbone", list(BACKBONES))
@pytest.mark.parametrize("kind", list(PLANS))
def test_heads_give_outputs_of_their_maps(kind: str, backbone: str) -> None:
    """Of columns that share all, nothing, or something; with skips too."""
    network = BACKBONES[backbone]()
    heads = light_heads(network)
    lowered = lower(PLANS[kind](network), network, heads)
    assert tuple(maps_of_heads(lowered.graph)) == TASKS
    assert_heads_read(lowered, heads)


@pytest.mark.parametrize(("method", "options"), [("cross-stitch", {}), ("nddr", {"shortcut": True}), ("mtan", {})])
def test_heads_read_what_joins_give(method: str, options: Mapping[str, object]) -> None:
    """At a site of the column, or beside it, where the join is a tap of its own."""
    setup, found = found_for(method, "residual", **options)
    lowered = lower(found.plan, setup.backbone, setup.heads)
    assert_heads_read(lowered, setup.heads)
    by_name = {value.name: node for node in lowered.graph.nodes for value in node.outputs}
    for maps in maps_of_heads(lowered.graph).values():
        assert by_name[maps[0]].metadata_props["trunkline.part"] == "join"


def test_several_maps_in_the_heads_order() -> None:
    """Where two are read, and as often as they are: a row is as long for every plan."""
    setup = setup_for("taps")
    heads = {**setup.heads, "normals": make_head("aspp", setup.backbone.graph, 2)}
    last = ("high",) * 4
    graph = lower(all_shared(setup.backbone, TASKS), setup.backbone, heads).graph
    assert maps_of_heads(graph) == {"depth": ("high", "low"), "normals": last, "seg": ("high",)}
    graph = lower(independent(setup.backbone, TASKS), setup.backbone, heads).graph
    assert maps_of_heads(graph) == {
        "depth": ("high@depth", "low@depth"),
        "normals": tuple(f"{name}@normals" for name in last),
        "seg": ("high@seg",),
    }


def test_without_a_head_the_output_is_read() -> None:
    """Also where several tasks give one value, and beside tasks that have a head."""
    network = two_taps()
    graph = lower(all_shared(network, ["a", "b", "c"]), network, {"b": small_head(network, 1)}).graph
    maps = maps_of_heads(graph)
    assert (maps["a"], maps["c"]) == (("a",), ("c",))
    assert set(maps["b"]) == {"high", "low"}


def test_names_of_tasks_are_whole() -> None:
    """One that is the beginning of another is not mistaken for it, whatever a backbone's layers are called."""
    network = two_taps()
    heads = {task: small_head(network, 1) for task in ("a", "ab")}
    graph = lower(independent(network, ["a", "ab"]), network, heads).graph
    assert maps_of_heads(graph) == {"a": ("high@a", "low@a"), "ab": ("high@ab", "low@ab")}


def same_size() -> Graph:
    """Two maps of one shape, with a block between them that may be skipped."""
    b = GraphBuilder("same")
    low = unit(b, b.image("image", (3, 16, 16)), "stem", 6, stride=2)
    y = unit(b, unit(b, low, "a1", 6), "a2", 6, relu=False)
    return b.finish([low, b.node("Relu", [b.node("Add", [low, y], name="add")], name="high")])


def both_read(backbone: Graph) -> Graph:
    """A head that adds projections of both maps."""
    b = GraphBuilder("both")
    maps = [b.image(f"features{number}", (6, 8, 8)) for number in range(len(backbone.outputs))]
    return b.finish([b.node("Add", [unit(b, x, f"of{i}", 1) for i, x in enumerate(maps)], name="sum")])


def test_maps_that_a_skip_makes_one() -> None:
    """The value is read twice then, so it still has two maps of the teacher to learn."""
    network = same_size()
    heads = {"a": both_read(network), "b": both_read(network)}
    table = Backbone(network).table("block")
    rows = {name: {"a": 0, "b": 0} for name in table.names}
    rows[table.names[-1]] = {"a": "skip", "b": 0}
    plan = make_plan(network, ["a", "b"], rows, granularity="block")
    own, teacher = (lower(each, network, heads).graph for each in (plan, independent(network, ["a", "b"])))
    one, other = maps_of_heads(own)["a"]
    assert one == other
    lessons = lessons_of(own, teacher)
    assert [(lesson.own, lesson.theirs) for lesson in lessons["a"]] == [(one, "stem_relu@a"), (one, "high@a")]
    assert [lesson.theirs for lesson in lessons["b"]] == ["stem_relu@b", "high@b"]
    assert {lesson.channels for lesson in (*lessons["a"], *lessons["b"])} == {6}
