"""A backbone in the blocks of a two-task table, and what a layout of them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trunkline.errors import InvalidConfig
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.cost_table import CostTable
from trunkline.sharing.layouts.coarse_blocks import (
    CoarseBlocks,
    checked_blocks,
    expanded,
    load_coarse_blocks,
    merged_alike,
    merged_costs,
)
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import plan_of_layout
from trunkline.sharing.plan import SharingPlan

MergedBy = int | Path | Sequence[Sequence[int]] | None
"""So many blocks of similar cost; a file that lists them; the lists; or a backbone's own blocks."""
MergedCost = Literal["macs", "parameters", "ms"]
"""What blocks of similar cost have alike."""


@dataclass(frozen=True)
class MergedBackbone:
    """A backbone in the blocks that the table is about.

    Attributes:
        backbone: The backbone.
        blocks: Which of its blocks each of them holds.
        costs: What one run of each costs, by ``macs``, ``parameters``, and ``ms`` where a cost table is given.
    """

    backbone: Backbone
    blocks: CoarseBlocks
    costs: Mapping[str, Sequence[float]]

    @property
    def names(self) -> list[str]:
        """What the blocks are called: each by the first that it holds."""
        names = self.backbone.table("block").names
        return [names[run[0]] for run in self.blocks]

    def cost(self, layout: Layout, kind: str) -> float:
        """Return what a layout costs."""
        return sum(cost * len(groups) for cost, groups in zip(self.costs[kind], layout.blocks, strict=True))

    def change_percent(self, layout: Layout, kind: str) -> float:
        """Return what a layout costs, against independent models, in percent: -50 is half."""
        whole = sum(self.costs[kind]) * len(layout.tasks)
        return 100 * (self.cost(layout, kind) / whole - 1) if whole else 0.0

    def plan(self, layout: Layout) -> SharingPlan:
        """Return the plan of a layout, whose provenance says which blocks were merged."""
        plan = plan_of_layout(self.backbone, expanded(layout, self.blocks), method="treemtl")
        blocks = [list(run) for run in self.blocks]
        return plan.model_copy(update={"provenance": {**plan.provenance, "blocks": blocks}})


def merged_backbone(
    backbone: Backbone, blocks: MergedBy, costs: Path | None = None, by: MergedCost = "macs"
) -> MergedBackbone:
    """Return a backbone in merged blocks, with what they cost.

    Args:
        backbone: The backbone.
        blocks: How they are merged.
        costs: A cost table of it.
        by: What a number of blocks is to have alike.

    Raises:
        InvalidConfig: There are fewer blocks than asked for, a file does not fit, or blocks are to take as many
            milliseconds without a cost table.
    """
    units = backbone.table("block").units
    each = {
        "macs": [float(unit.cost.macs) for unit in units],
        "parameters": [float(unit.cost.parameters) for unit in units],
    }
    if costs is not None:
        times = CostTable.load(costs, backbone).node_ms
        each["ms"] = [sum(times.get(node, 0.0) for node in unit.nodes) for unit in units]
    if by not in each:
        advice = "`trunkline costs` measures a table of this backbone"
        raise InvalidConfig("blocks that take as many milliseconds need a cost table", place="blocks", advice=advice)
    if blocks is None:
        runs: CoarseBlocks = tuple((number,) for number in range(len(units)))
    elif isinstance(blocks, Path):
        runs = load_coarse_blocks(blocks, len(units))
    elif isinstance(blocks, int):
        runs = merged_alike(each[by], blocks)
    else:
        runs = checked_blocks(blocks, len(units))
    return MergedBackbone(backbone, runs, {kind: merged_costs(values, runs) for kind, values in each.items()})
