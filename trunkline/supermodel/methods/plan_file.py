"""``plan``: a sharing plan from a file, written by hand or found by another run."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from trunkline.errors import InvalidConfig
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import check_plan
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod


class PlanFileOptions(MethodOptions):
    """Which plan."""

    file: Path = Field(description="a plan, as `plan.json` of a run")


class PlanFile(FixedMethod[PlanFileOptions]):
    """A plan as it is."""

    name = "plan"
    units = "operators or blocks"
    decides = "what a plan file says"
    source = "any"
    Options = PlanFileOptions
    argument = "file"

    def plan(self) -> SharingPlan:
        """Return the plan of the file.

        Raises:
            InvalidConfig: It is for another backbone, or for other tasks.
        """
        plan = SharingPlan.load(self.options.file)
        check_plan(plan, self.setup.backbone)
        if plan.tasks != self.setup.tasks:
            text = f"the plan is for {', '.join(plan.tasks)}; the pipeline's tasks are {', '.join(self.setup.tasks)}"
            raise InvalidConfig(text, place=str(self.options.file), advice="name the same tasks in the same order")
        return plan
