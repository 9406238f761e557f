"""What a plan runs and stores, backbone and heads apart, next to N independent models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from trunkline.graph.cost import Cost, graph_cost, node_costs
from trunkline.graph.graph import Graph
from trunkline.graph.owners import nodes_of_heads
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan


@dataclass(frozen=True, slots=True)
class ExecutedCost:
    """Costs for one image.

    Attributes:
        backbone: What the plan's model runs and stores of the backbone, joins between its columns included.
        heads: What its heads run and store.
        independent_backbone: What the backbones of N single-task models run and store.
        independent: The same, with their heads.
    """

    backbone: Cost
    heads: Cost
    independent_backbone: Cost
    independent: Cost

    @property
    def total(self) -> Cost:
        """Backbone and heads together."""
        return self.backbone + self.heads

    @property
    def relative(self) -> tuple[float, float]:
        """Executed MACs and stored parameters of the backbone, relative to those of N independent backbones.

        Heads are left out: each task has its own in both, and a heavy one would hide what sharing saves.
        """
        whole = self.independent_backbone
        return self.backbone.macs / max(1, whole.macs), self.backbone.parameters / max(1, whole.parameters)

    def to_json(self) -> dict[str, dict[str, int]]:
        """Return all costs as plain numbers."""
        return asdict(self)


def executed_cost(
    plan: SharingPlan, backbone: Graph | Backbone, heads: Mapping[str, Graph] | None = None
) -> ExecutedCost:
    """Return the cost of the lowered model of ``plan``, by lowering it.

    Raises:
        InvalidConfig: The plan or a head does not fit the backbone.
    """
    backbone, heads = Backbone.of(backbone), heads or {}
    return cost_of_lowered(lower(plan, backbone, heads).graph, backbone, heads, len(plan.tasks))


def cost_of_lowered(
    graph: Graph, backbone: Graph | Backbone, heads: Mapping[str, Graph], task_count: int
) -> ExecutedCost:
    """Return the cost of the Graph of a lowered model next to that of as many independent ones as there are tasks."""
    # By what the nodes say of themselves: layers of a backbone may be called `head.*` too, as in timm.
    costs, in_head = node_costs(graph), nodes_of_heads(graph)
    whole = Cost.total([Cost.total(Backbone.of(backbone).costs.values())] * task_count)
    return ExecutedCost(
        backbone=Cost.total(cost for name, cost in costs.items() if name not in in_head),
        heads=Cost.total(cost for name, cost in costs.items() if name in in_head),
        independent_backbone=whole,
        independent=Cost.total([whole, *(graph_cost(head) for head in heads.values())]),
    )
