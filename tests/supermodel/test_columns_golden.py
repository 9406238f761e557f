"""Where columns meet: up to the last map, which every head needs, and not behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from decoders import decoded, pyramid
from method_work import ShakenWork

from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.graph import Graph
from trunkline.recipe import Phase
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.columns import ColumnsMethod
from trunkline.supermodel.methods.registry import methods

pytestmark = pytest.mark.golden

OF_COLUMNS = tuple(name for name, kind in methods().items() if issubclass(kind, ColumnsMethod))


def method_over(name: str, graph: Graph, heads: tuple[str, str] = ("light", "light"), **options: Any) -> Any:
    made = {task: make_head(kind, graph, 2) for task, kind in zip("ab", heads, strict=True)}
    setup = Setup(Backbone(graph), made, ("a", "b"), dict.fromkeys("ab", "depth"), 3, Phase(steps=4), 4)
    kind = methods()[name]
    return kind(setup, kind.Options.model_validate(options))


@pytest.mark.parametrize("sites", ["stages", "blocks"])
@pytest.mark.parametrize("backbone", [decoded, pyramid])
@pytest.mark.parametrize("name", OF_COLUMNS)
def test_every_join_is_run(name: str, backbone: Callable[[], Graph], sites: str) -> None:
    """Heads read the last map, so a join behind it would mix what nobody reads; also where that map is in a block."""
    method = method_over(name, backbone(), sites=sites)
    plan = method.find(ShakenWork(method.setup)).plan
    assert plan.joins and plan.joins[-1].site == "c3_relu"
    lowered = lower(plan, method.setup.backbone, method.setup.heads).graph
    written = {node.name.split(".")[1] for node in lowered.nodes if node.name and node.name.startswith("join.")}
    assert {join.name.split(".")[0] for join in plan.joins} <= written


@pytest.mark.parametrize("heads", [("light", "light"), ("light", "fpn"), ("fpn", "fpn")])
@pytest.mark.parametrize("count", ["macs", "parameters"])
def test_expected_cost_of_edges_before_a_decoder(count: str, heads: tuple[str, str]) -> None:
    """All edges, and none: what the lowered model costs, whatever part of the backbone its heads leave out."""
    method = method_over("mtl-nas", decoded(), heads, cost=count)
    space, setup, term = method.space, method.setup, method.model.expected_cost
    for picked in (0, 1):
        cost = executed_cost(space.plan(dict.fromkeys(space.choices, picked)), setup.backbone, setup.heads)
        sure = {
            name: torch.nn.functional.one_hot(torch.full((len(group.choices),), picked), 2).double()
            for name, group in method.model.groups_of_choices.items()
        }
        assert float(term.absolute(sure)) == getattr(cost.backbone, count)
