"""What docs/mtan.md says MTAN costs is what is counted."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.cost import graph_cost
from trunkline.ingest.backbone import read_backbone
from trunkline.recipe import Phase
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.mtan import Mtan, MtanOptions

pytestmark = pytest.mark.golden

DOCS = Path(__file__).resolve().parents[2] / "docs" / "mtan.md"
TASKS = ("a", "b", "c", "d", "e")
COLUMNS: tuple[dict[str, Any], ...] = (
    {},
    {"reduction": 4},
    {"separable": True, "reduction": 4},
    {"refinement": "bottleneck"},
)


@cache
def setup_of(net: str) -> Setup:
    graph = read_backbone(net, input_size=(256, 256))
    heads = {task: make_head("light", graph, 1) for task in TASKS}
    return Setup(Backbone(graph), heads, TASKS, dict.fromkeys(TASKS, "depth"), 0, Phase(steps=1), 1)


def share(setup: Setup, plan: SharingPlan) -> str:
    """Work without heads, as a share of five backbones."""
    cost = executed_cost(plan, setup.backbone, setup.heads)
    heads = sum(graph_cost(head).macs for head in setup.heads.values())
    return f"{(cost.total.macs - heads) / cost.independent_backbone.macs:.2f}"


@pytest.mark.parametrize("net", ["zoo:deeplab_resnet34", "zoo:mobilenetv2"])
def test_the_docs_table_is_counted(net: str) -> None:
    setup = setup_of(net)
    counted = [share(setup, all_shared(setup.backbone, TASKS))]
    for options in COLUMNS:
        method = Mtan(setup, MtanOptions(**options))
        plan = all_shared(setup.backbone, TASKS).model_copy(update={"joins": tuple(method.joins())})
        counted.append(share(setup, plan))
    (row,) = re.findall(rf"^\| `{net}` \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    assert row.split(" | ") == counted
