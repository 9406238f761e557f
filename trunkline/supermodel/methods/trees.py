"""What methods that rank trees of blocks have in common: merged blocks, and budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.recipe import Count, Positive
from trunkline.sharing.layouts.best_layouts import CostLimit
from trunkline.sharing.layouts.coarse_blocks import condensed
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.layout_budgets import LayoutBudgets, limits_of_budgets
from trunkline.sharing.layouts.merged_backbone import MergedBackbone, MergedCost, merged_backbone
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import LayoutScorer, Method, MethodOptions, Setup

DEFAULT_BLOCKS = 5
"""TreeMTL's B, for either of its backbones."""


class TreeOptions(MethodOptions):
    """Of which blocks a tree is, and what it may cost."""

    blocks: Count | tuple[tuple[int, ...], ...] | None = Field(
        None, description="merge the backbone's blocks into so many of similar cost, or as these lists say; 5 at most"
    )
    blocks_by: MergedCost = Field("macs", description="what merged blocks are to have alike: macs, parameters, ms")
    max_models: Positive | None = Field(None, description="most MACs, as a number of backbones (TreeMTL's budget)")
    max_parameters: Positive | None = Field(None, description="most parameters of the backbones")
    max_ms: Positive | None = Field(None, description="most milliseconds, by `cost_table`")
    cost_table: Path | None = Field(None, description="milliseconds by operator, of `trunkline costs`")


def require_judging(setup: Setup) -> None:
    """Raise InvalidConfig where no samples are held out by which models could be judged."""
    if setup.phase.eval_split is None:
        advice = "set `val_fraction` above 0 under [data]"
        raise InvalidConfig("no samples are held out to judge tasks by", place="search", advice=advice)


O_ = TypeVar("O_", bound=TreeOptions)


class TreeMethod(Method[O_], Generic[O_]):
    """A method that ranks trees.

    Attributes:
        merged: The backbone in the blocks that trees are made of.
    """

    kind = "ranked"
    units = "blocks"
    decides = "which tasks are together in each block"
    leaves_weights = False

    def __init__(self, setup: Setup, options: O_) -> None:
        super().__init__(setup, options)
        blocks, backbone = options.blocks, setup.backbone
        if blocks is None:
            blocks = min(DEFAULT_BLOCKS, len(backbone.table("block").units))
        self.merged: MergedBackbone = merged_backbone(backbone, blocks, options.cost_table, options.blocks_by)

    @property
    def is_alone(self) -> bool:
        """Whether there is one task, which has nobody to share with."""
        return len(self.setup.tasks) == 1

    @property
    def limits(self) -> dict[str, CostLimit]:
        """The budgets, by name.

        Raises:
            InvalidConfig: Milliseconds without a cost table.
        """
        options = self.options
        budgets = LayoutBudgets(
            models=options.max_models, parameters=options.max_parameters, ms=options.max_ms, costs=options.cost_table
        )
        return limits_of_budgets(budgets, self.merged)

    def alone(self) -> SharingPlan:
        """Return the plan of one task."""
        return self.merged.plan(Layout.all_shared(self.setup.tasks, len(self.merged.blocks)))

    def plan_of(self, layout: Layout, said: Mapping[str, object]) -> SharingPlan:
        """Return the plan of a layout, with what it was chosen by."""
        plan = self.merged.plan(layout)
        provenance = {**plan.provenance, **said}
        return plan.model_copy(update={"method": self.name, "provenance": provenance})

    @classmethod
    def scorer(cls, plan: SharingPlan) -> LayoutScorer | None:
        """Score trees of the blocks that the plan's tree is made of; others are not what was decided about."""
        score, runs = cls.coarse_scorer(plan), plan.provenance.get("blocks")
        if score is None or runs is None:
            return None
        blocks = tuple(map(tuple, runs))

        def scored(layout: Layout) -> float | None:
            coarse = condensed(layout, blocks)
            return None if coarse is None else score(coarse)

        return scored

    @classmethod
    def coarse_scorer(cls, plan: SharingPlan) -> Callable[[Layout], float] | None:
        """Return what scores trees of merged blocks by what a plan was chosen by; see :meth:`Method.scorer`."""
        return None

    @classmethod
    def free(cls) -> tuple[str, ...]:
        """What is done with what was measured may change after it was."""
        return ("max_models", "max_parameters", "max_ms", "cost_table")
