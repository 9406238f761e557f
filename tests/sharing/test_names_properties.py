"""Properties: names decide nothing. Whatever a backbone's parts are called, its models are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest
import torch
from automtl_model import AutoMTL
from backbones import BACKBONES
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import TASKS, choose, light_heads, random_plan
from renamed import renamed, same_plan

from trunkline.graph.graph import INSTANCE_KEY, PART_KEY, TASKS_KEY, UNIT_KEY, Graph, name_of
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import BackboneWeight, Origin, SkipWeight
from trunkline.sharing.plan import SharingPlan
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

SEED = 3
NAMES = ("chain", "residual", "mobile")


def images() -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(11))


@cache
def base(name: str) -> tuple[Graph, SharingPlan, Lowered]:
    backbone = BACKBONES[name]()
    plan = random_plan(backbone, TASKS, SEED)
    return backbone, plan, lower(plan, backbone, light_heads(backbone))


def names_in(graph: Graph) -> list[str]:
    """All names, each once: of the image, of what nodes write and read, and of nodes."""
    values = [*(value for node in graph.nodes for value in node.outputs), *graph.initializers.values()]
    return list(dict.fromkeys([name_of(graph.input), *map(name_of, values), *map(name_of, graph.nodes)]))


@cache
def own_names(name: str) -> list[str]:
    """Names that lowering makes up for this very backbone, and those of the tasks."""
    backbone, _, lowered = base(name)
    return [made for made in names_in(lowered.graph) if made not in names_in(backbone)]


@st.composite
def renamings(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    name = draw(st.sampled_from(NAMES))
    old = draw(st.permutations(names_in(base(name)[0])))
    new = draw(st.lists(st.sampled_from(own_names(name)), min_size=1, max_size=min(8, len(old)), unique=True))
    return name, dict(zip(old, new, strict=False))


def origin_in(origin: Origin, names: Mapping[str, str]) -> Origin:
    match origin:
        case BackboneWeight(name):
            return replace(origin, name=names.get(name, name))
        case SkipWeight(unit_name):
            return replace(origin, unit=names.get(unit_name, unit_name))
        case _:
            return origin


@settings(max_examples=25, deadline=None)
@given(renamings())
def test_model_does_not_depend_on_names(case: tuple[str, dict[str, str]]) -> None:
    """The same nodes, owners, costs and outputs, although the backbone has names that lowering wants for its own."""
    name, names = case
    backbone, plan, expected = base(name)
    other = renamed(backbone, names)
    heads = light_heads(other)
    found = lower(same_plan(plan, other, names), other, heads)
    assert owners(found.graph, {}) == owners(expected.graph, names)
    assert executed_cost(same_plan(plan, other, names), other, heads) == executed_cost(plan, backbone, heads)
    stored = {origin_in(expected.origin[n], names): t for n, t in trained(expected.graph).items()}
    assert sorted(map(str, stored)) == sorted(map(str, found.origin.values()))
    twin = Twin(found.graph, weights={n: stored[origin] for n, origin in found.origin.items()}).eval()
    reference = Twin(expected.graph, weights=trained(expected.graph)).eval()
    assert list(twin.output_names) == list(TASKS)
    with torch.no_grad():
        ours, theirs = twin(images()), reference(images())
    assert all(torch.equal(ours[task], theirs[task]) for task in TASKS)


@settings(max_examples=8, deadline=None)
@given(renamings())
def test_supermodel_does_not_depend_on_names(case: tuple[str, dict[str, str]]) -> None:
    """It can be built, keeps its weights apart, and hands them to the model of a plan by origin."""
    name, names = case
    backbone, plan, _ = base(name)
    other = renamed(backbone, names)
    model, generator = AutoMTL(other, light_heads(other), TASKS).eval(), torch.Generator().manual_seed(2)
    for tensor in model.store.weights().values():
        tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.2 * (tensor.dim() > 1))
    choose(model, same_plan(plan, other, names))
    found = lower(same_plan(plan, other, names), other, light_heads(other))
    twin = Twin(found.graph, weights=model.weights(found)).eval()
    with torch.no_grad():
        searched, deployed = model(images()), twin(images())
    for task in TASKS:
        torch.testing.assert_close(searched[task], deployed[task], rtol=1e-4, atol=1e-5 * float(deployed[task].max()))


def owners(graph: Graph, names: Mapping[str, str]) -> Counter[tuple[str, ...]]:
    """What nodes and weights say of their owners, and how many say it; units by their new names."""
    found: Counter[tuple[str, ...]] = Counter()
    for item in (*graph.nodes, *graph.initializers.values()):
        said = {key: item.metadata_props.get(key, "") for key in (PART_KEY, UNIT_KEY, INSTANCE_KEY, TASKS_KEY)}
        said[UNIT_KEY] = names.get(said[UNIT_KEY], said[UNIT_KEY])
        found[tuple(said.values())] += 1
    return found


def trained(graph: Graph) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.rand(t.shape, generator=generator) + 0.5 for name, t in Twin(graph).weights().items()}
