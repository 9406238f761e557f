"""``single-task``: a backbone for every task, N single-task models. What gains and losses are measured against."""

from __future__ import annotations

from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod


class SingleTask(FixedMethod[MethodOptions]):
    """N columns that share nothing; trained together they are N single-task trainings, bit for bit."""

    name = "single-task"
    units = "blocks"
    decides = "that nothing is shared"
    source = "the baseline of all four papers"

    def plan(self) -> SharingPlan:
        """Return the plan."""
        return independent(self.setup.backbone, self.setup.tasks)
