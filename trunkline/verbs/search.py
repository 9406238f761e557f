"""``search``: train the supermodel and decide who shares what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from trunkline.export.provenance import sha256_of
from trunkline.pipeline.config import search_numbers
from trunkline.pipeline.project import PLAN, POLICY, SEARCH, Project
from trunkline.recipe import Phase
from trunkline.sharing.lowering.executed_cost import ExecutedCost, executed_cost
from trunkline.sharing.lowering.lower import Lowered
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods import method_named
from trunkline.supermodel.methods.base import SearchMethod
from trunkline.train.loop.runner import Runner
from trunkline.train.progress.progress import make_progress
from trunkline.train.schedule.presets import Preset, search_phases


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found.

    Attributes:
        plan: The sharing plan, also in ``plan.json``.
        path: Where it is.
        cost: What its model will run and store.
        weights: Gives the model of a plan the weights that the search ended with, by its names.
    """

    plan: SharingPlan
    path: Path
    cost: ExecutedCost
    weights: Callable[[Lowered], Mapping[str, Tensor]]

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        macs, parameters = self.cost.shares
        return {
            "plan": str(self.path),
            "tasks": list(self.plan.tasks),
            "method": self.plan.method,
            "macs": {"executed": self.cost.total.macs, "independent": self.cost.independent.macs},
            "parameters": self.cost.total.parameters,
            "backbone_macs_share": macs,
            "backbone_parameters_share": parameters,
            "parts": self.cost.to_json(),
        }


def search(project: Project, *, quiet: bool = False) -> SearchResult:
    """Run the search phases, going on from their last checkpoint, and write plan and policy.

    Raises:
        InvalidConfig: The pipeline does not fit, or no plan is inside the budget.
        WorkFailed: A loss is not finite, or the disk is full; the last checkpoint is good.
        Interrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
    """
    config, numbers = project.config.search, search_numbers(project.config)
    model = method_named(config.method)(
        project.backbone, project.heads, project.tasks, config.options, seed=project.config.seed
    )
    runners = _runners(project, model, numbers, quiet=quiet)
    # How a plan is drawn from the learned policy may change afterwards: the budget, for one, where no plan kept it.
    decisive = config.model_dump(mode="json", exclude={"options": {"sampling", "cost_table"}})
    if config.options.cost_table is not None:  # by what it holds, so that it may be moved but not changed
        decisive["options"]["cost_table"] = sha256_of(config.options.cost_table.read_text())
    with project.stage(SEARCH, {"search": decisive, "numbers": asdict_json(numbers)}):
        project.write_json(f"{SEARCH}/split.json", project.policy_split.as_dict())
        for runner in runners:
            runner.run()
    plan = model.decide()
    plan.save(project.out / PLAN)
    project.write_json(POLICY, model.policy_json())
    cost = executed_cost(plan, project.backbone, project.heads)
    result = SearchResult(plan, project.out / PLAN, cost, model.weights)
    project.write_json("search.json", result.to_json())
    return result


def _runners(project: Project, model: SearchMethod, numbers: Preset, *, quiet: bool) -> list[Runner]:
    """Return a runner per phase. Making one checks that all it needs fits, before anything is written."""
    data = project.splits(numbers)
    return [
        Runner(
            model,
            project.losses(numbers, searching=phase.mode == "sample"),
            data,
            phase,
            project.folder(SEARCH),
            seed=project.config.seed,
            compute=project.compute,
            progress=make_progress(quiet=quiet),
        )
        for phase in _phases(project)
    ]


def _phases(project: Project) -> list[Phase]:
    phases = search_phases(search_numbers(project.config), cost_weight=project.config.search.cost_weight)
    return [phase.model_copy(update={"eval_split": project.eval_split}) for phase in phases]


def search_steps(project: Project) -> int:
    """Return how many of the search's steps move weights."""
    turns = [(phase, turn) for phase in _phases(project) for turn in phase.turns]
    return sum(phase.turn_steps(turn.name) for phase, turn in turns if turn.group == "weights")


def asdict_json(numbers: Preset) -> dict[str, Any]:
    """Return a preset's numbers as plain JSON content."""
    content = asdict(numbers)
    return {key: value.model_dump() if hasattr(value, "model_dump") else value for key, value in content.items()}
