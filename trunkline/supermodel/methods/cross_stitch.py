"""Cross-Stitch Networks (Misra et al. 2016): a column a task, and units that mix the columns' maps at some sites.

At a site every column goes on with a weighted sum of all columns' maps there (Eq. 1):

    x̃^i = Σ_j a_ij · x^j

The weights a are trained with everything else. They start at α for a column's own map and at (1−α)/(T−1) for the
others', so that a row adds up to 1, and learn 100 to 1000 times as fast as the rest (Sec. 4). Columns start from
single-task models that are trained first. Nothing is searched, and nothing is dropped in the end: the delivered file
runs all T columns.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trunkline.recipe import Positive
from trunkline.sharing.join import Join, Read
from trunkline.sharing.layouts import independent
from trunkline.supermodel.methods.base import Found, Method, MethodOptions, Work
from trunkline.supermodel.methods.columns import block_ends, columns_plan, joint_phase, stage_ends, start_of_own


class CrossStitchOptions(MethodOptions):
    """What can be set about Cross-Stitch."""

    alpha: float | None = Field(
        None, gt=0, le=1, description="a column's own weight at the start; 0.9 for two tasks, 0.8 for more, if absent"
    )
    per: Literal["tensor", "channel"] = Field("tensor", description="one weight for a map, or one for each channel")
    sites: Literal["stages", "blocks"] = Field("stages", description="mix behind every stage, or behind every block")
    rate_factor: Positive = Field(100.0, description="how many times as fast as all other weights the mixes learn")


class CrossStitch(Method[CrossStitchOptions]):
    """Columns with mixes between them; see the module's text."""

    name = "cross-stitch"
    kind = "soft"
    units = "blocks"
    needs = "single-task models, which it trains first; then one joint training of columns and mixes"
    decides = "nothing: how much columns mix is trained with their weights"
    yields = "a column a task, and trained mixes between them"
    source = "Misra, Shrivastava, Gupta, Hebert: Cross-stitch Networks (CVPR 2016)"
    trains_on = True
    Options = CrossStitchOptions

    def find(self, work: Work) -> Found:
        """Train single-task models, and stitch them together."""
        setup = self.setup
        plan = columns_plan(setup, self.joins(), self.name)
        # The paper starts each column from the trained network of its task, not from the backbone.
        single = work.train("single", independent(setup.backbone, setup.tasks))
        phase = joint_phase(setup, "stitched", self.options.rate_factor) if plan.joins else setup.phase
        return Found(plan, start=single.start, goes_on=True, phases=(phase,), steps=setup.phase.steps)

    def joins(self) -> list[Join]:
        """Return a mix for each site and task; a single task has none."""
        tasks, backbone = self.setup.tasks, self.setup.backbone
        if len(tasks) == 1:
            return []
        sites = stage_ends(backbone) if self.options.sites == "stages" else block_ends(backbone)
        return [self._mix(site, task) for site in sites for task in tasks]

    def _mix(self, site: str, task: str) -> Join:
        tasks = self.setup.tasks
        alpha = start_of_own(self.options.alpha, len(tasks))
        # A row adds up to 1, so columns that are still equal pass on what they had before they were mixed.
        others = (1 - alpha) / (len(tasks) - 1)
        return Join(
            name=f"{site}.{task}",
            kind="mix",
            settings={"starts": [alpha if other == task else others for other in tasks], "per": self.options.per},
            site=site,
            task=task,
            reads=tuple(Read.column(site, other) for other in tasks),
            gives="site",
        )
