"""Properties of untied plans: every weighted node has a set of weights for each input, followers too."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from automtl_model import AutoMTL
from backbones import BACKBONES, conv
from plans import TASKS, light_heads, random_plan

from trunkline.errors import InvalidConfig, InvalidModel
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import role_of
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import plan_of_layout
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import BackboneWeight
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.units import find_units
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties


def inputs_of_weights(graph: Graph) -> dict[str, set[tuple[str, ...]]]:
    """For each weight that trains the computed inputs of the nodes that read it."""
    found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for node in graph.nodes:
        data = tuple(name_of(v) for v in node.inputs if v is not None and not v.is_initializer())
        for value in node.inputs:
            if value is not None and value.is_initializer() and role_of(value) == "parameter":
                found[name_of(value)].add(data)
    return found


def prelu_after_join() -> Graph:
    """Two branches that meet in a concatenation, and a PRelu behind it that follows one of them."""
    b = GraphBuilder("prelu")
    x = conv(b, b.image("image", (3, 16, 16)), "stem", 4)
    left, right = conv(b, x, "left", 4), conv(b, x, "right", 4)
    x = b.node("Concat", [left, right], name="join", attributes={"axis": 1})
    x = b.node("PRelu", [x, b.weight("slope", (8, 1, 1), Filler("constant", 0.25))], name="act")
    return b.finish([conv(b, x, "last", 8)])


def backbone_named(name: str) -> Graph:
    return prelu_after_join() if name == "prelu" else BACKBONES[name]()


def untied(plan: SharingPlan) -> SharingPlan:
    return plan.model_copy(update={"tie": False})


@pytest.mark.parametrize("name", [*BACKBONES, "prelu"])
def test_no_weight_serves_two_inputs(name: str) -> None:
    """In an untied plan, all nodes that read a weight have the same inputs."""
    backbone = backbone_named(name)
    for seed in range(12):
        plan = untied(random_plan(backbone, TASKS, seed, sharing=(0.9, 0.6)[seed % 2]))
        lowered = lower(plan, backbone, {})
        assert {len(inputs) for inputs in inputs_of_weights(lowered.graph).values()} == {1}


@pytest.mark.parametrize(("name", "follower", "weight"), [("mobile", "late_bn", "scale"), ("prelu", "act", "slope")])
def test_follower_is_cloned_where_inputs_differ(name: str, follower: str, weight: str) -> None:
    """Its unit is computed once for both tasks; what joins it differs, so the follower has two inputs."""
    backbone = backbone_named(name)
    rows = {unit.name: dict.fromkeys("ab", 0) for unit in find_units(backbone)}
    other = next(unit.name for unit in find_units(backbone) if unit.name in ("left", "right") and not unit.followers)
    rows[other] = {"a": 0, "b": 1}
    plan = untied(make_plan(backbone, ["a", "b"], rows))
    lowered = lower(plan, backbone, {})
    own = weight if name == "prelu" else f"late_bn.{weight}"
    assert {f"{follower}@a", f"{follower}@b"} <= {name_of(node) for node in lowered.graph.nodes}
    assert {own, f"{own}~b"} <= set(lowered.origin)
    assert lowered.origin[f"{own}~b"] == BackboneWeight(own, 0, "b")
    tied = lower(plan.model_copy(update={"tie": True}), backbone, {})
    assert f"{own}~b" not in tied.origin


def merged_again() -> tuple[Graph, SharingPlan]:
    """Two tasks part at the first block and hold one instance again behind it."""
    backbone = BACKBONES["residual"]()
    apart, blocks = [["depth"], ["normals", "seg"]], find_units(backbone, "block")
    plan = plan_of_layout(backbone, Layout.of(TASKS, [apart] * len(blocks)))
    return backbone, plan.model_copy(update={"units": {**plan.units, "b1": dict.fromkeys(TASKS, 0)}})


def origins(lowered: Lowered) -> dict[str, tuple[str, int]]:
    return {n: (o.name, o.instance) for n, o in lowered.origin.items() if isinstance(o, BackboneWeight)}


def test_clone_says_which_instance_it_was() -> None:
    """Its name has a suffix, its origin the instance that it was cloned from."""
    backbone, plan = merged_again()
    lowered = lower(plan, backbone, light_heads(backbone))
    found = origins(lowered)
    assert found["a1.weight@1"] == ("a1.weight", 1)
    assert found["b1.weight"] == found["b1.weight~normals"] == ("b1.weight", 0)
    assert found["b1_bn.var~normals"] == ("b1_bn.var", 0)
    assert lowered.origin.keys() == Twin(lowered.graph).weights().keys()


def operator_plan(backbone: Graph, choice: int) -> SharingPlan:
    rows = {unit.name: dict.fromkeys(TASKS, 0) for unit in find_units(backbone)}
    return make_plan(backbone, TASKS, {**rows, "stem": {"depth": 0, "normals": 2, "seg": choice}}, tie=False)


def test_clones_start_as_the_instance_they_were() -> None:
    """The search has no clones, and no name says where their weights are: each starts as its instance in the search."""
    backbone = BACKBONES["residual"]()
    heads = light_heads(backbone)
    model = AutoMTL(backbone, heads, TASKS, seed=1)
    with torch.no_grad():
        for number, tensor in enumerate(model.store.weights().values()):
            tensor.fill_(number)
    lowered = lower(operator_plan(backbone, 3), backbone, heads)
    weights = {name: float(tensor.flatten()[0]) for name, tensor in model.weights(lowered).items()}
    stored = {name: float(tensor.flatten()[0]) for name, tensor in model.store.weights().items()}
    assert weights["stem.weight@3"] == stored["stem.weight@3"]
    assert weights["b2.weight"] == weights["b2.weight~seg"] == stored["b2.weight"]
    assert weights["stem_bn.mean@3"] == stored["stem_bn.mean~seg"]
    assert [weights[f"b2_bn.mean{column}"] for column in ("", "~normals", "~seg")] == [
        stored[f"b2_bn.mean~{task}"] for task in TASKS
    ]


def test_weights_that_no_search_has_are_named() -> None:
    """Instances and heads that the search did not train are listed, each with its name."""
    backbone = BACKBONES["residual"]()
    model = AutoMTL(backbone, light_heads(backbone), TASKS)
    with pytest.raises(InvalidModel) as caught:
        model.weights(lower(operator_plan(backbone, 7), backbone, light_heads(backbone)))
    assert {problem.place for problem in caught.value.problems} == {
        f"stem{key}@7" for key in (".weight", "_bn.scale", "_bn.bias", "_bn.mean", "_bn.var")
    }
    turned = operator_plan(backbone, 3).model_copy(update={"tasks": TASKS[::-1]})
    with pytest.raises(InvalidConfig, match="the plan is for seg, normals, depth"):
        model.weights(lower(turned, backbone, light_heads(backbone)))
    with pytest.raises(InvalidModel, match="head.seg.conv2.weight"):
        AutoMTL(backbone, {}, TASKS).weights(lower(operator_plan(backbone, 3), backbone, light_heads(backbone)))
