"""``multi-task``: one backbone for all tasks."""

from __future__ import annotations

from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod


class MultiTask(FixedMethod[MethodOptions]):
    """One backbone, a head for each task."""

    name = "multi-task"
    units = "blocks"
    decides = "that everything is shared"
    source = "the baseline of all four papers"

    def plan(self) -> SharingPlan:
        """Return the plan."""
        return all_shared(self.setup.backbone, self.setup.tasks)
