"""``share-until``: everything up to a block is shared, everything behind it is each task's own."""

from __future__ import annotations

from pydantic import Field

from trunkline.sharing.layouts.plans import share_until
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod


class ShareUntilOptions(MethodOptions):
    """Where the trunk ends."""

    block: str = Field(description="the last block that all tasks share, by name or number; `inspect` lists them")


class ShareUntil(FixedMethod[ShareUntilOptions]):
    """A trunk and branches."""

    name = "share-until"
    units = "blocks"
    decides = "up to which block everything is shared"
    source = "the branching points of TreeMTL (Zhang et al. 2022), by hand"
    Options = ShareUntilOptions
    argument = "block"

    def plan(self) -> SharingPlan:
        """Return the plan."""
        return share_until(self.setup.backbone, self.setup.tasks, self.options.block)
