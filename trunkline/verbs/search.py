"""``search``: run the method that decides who shares what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.pipeline.project import PLAN, POLICY, Project
from trunkline.sharing.join_sites import join_sites
from trunkline.sharing.lowering.executed_cost import ExecutedCost, executed_cost
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.work import Found
from trunkline.verbs.work import ProjectWork


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search.

    Attributes:
        found: The plan, and how the method wants it trained.
        path: The plan's file.
        cost: MACs and parameters of the plan's model, next to those of independent models.
        sites: How many units come before each value at which columns are joined.
    """

    found: Found
    path: Path
    cost: ExecutedCost
    sites: dict[str, float]

    @property
    def plan(self) -> SharingPlan:
        """The sharing plan, also in ``plan.json``."""
        return self.found.plan

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        macs, parameters = self.cost.relative
        return {
            "plan": str(self.path),
            "tasks": list(self.plan.tasks),
            "method": self.plan.method,
            "macs": {"executed": self.cost.total.macs, "independent": self.cost.independent.macs},
            "parameters": self.cost.total.parameters,
            "backbone_macs_share": macs,
            "backbone_parameters_share": parameters,
            "parts": self.cost.to_json(),
            "correlation": self.found.policy.correlation if self.found.policy else {},
            "sites": self.sites,
        }


def search(project: Project, *, quiet: bool = False) -> SearchResult:
    """Run the method, going on from the last checkpoints of its stages, and write plan and policy.

    Raises:
        InvalidConfig: The pipeline does not fit, or no plan is inside the budget.
        WorkFailed: A loss is not finite, or the disk is full; the last checkpoint is good.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    project.method.check()
    found = project.method.find(ProjectWork(project, quiet))
    # A fixed method opens no stage, so nothing has made the folder yet.
    project.out.mkdir(parents=True, exist_ok=True)
    found.plan.save(project.out / PLAN)
    if found.policy is not None:
        project.write_json(POLICY, found.policy.to_json(found.plan.method))
    cost = executed_cost(found.plan, project.backbone, project.heads)
    result = SearchResult(found, project.out / PLAN, cost, join_sites(found.plan, project.backbone))
    project.write_json("search.json", result.to_json())
    return result
