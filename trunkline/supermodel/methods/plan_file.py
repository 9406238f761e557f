"""``plan``: a sharing plan from a file, written by hand or found by another run; on request for other tasks' places."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from trunkline.sharing.pairings import other_pairing
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.fixed import FixedMethod, plan_in


class PlanFileOptions(MethodOptions):
    """Which plan."""

    file: Path = Field(description="a plan, as `plan.json` of a run")
    permutation: int | None = Field(
        None, ge=0, description="number of a draw by which tasks change places in the plan; as the file says if absent"
    )


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
            InvalidConfig: It is for another backbone or for other tasks.
        """
        plan = plan_in(self.options.file, self.setup)
        if self.options.permutation is None:
            return plan
        return other_pairing(plan, f"{self.setup.seed}/{self.options.permutation}")
