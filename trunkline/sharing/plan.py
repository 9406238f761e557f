"""The sharing plan: who runs which copy of what. The one thing that a method decides.

A plan is a small JSON file that a person can read and write. Its schema is documented in ``docs/plan.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.files.read import read_own
from trunkline.files.write import atomic_write
from trunkline.graph.fingerprint import fingerprint
from trunkline.graph.graph import Graph
from trunkline.sharing.skip import skips_of
from trunkline.sharing.units import Granularity, Unit, find_units

SKIP: Literal["skip"] = "skip"
TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

Instance = Annotated[int, Field(ge=0)] | Literal["skip"]


class BackboneId(BaseModel):
    """Which backbone a plan was made for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    fingerprint: str


class SharingPlan(BaseModel):
    """For each unit and task: the number of the weight instance it runs, or ``skip``.

    Two tasks share a unit's weights when they hold the same number there; they also share its *execution*
    when everything before it was equal too. Instance 0 keeps the backbone's weight names.

    Attributes:
        backbone: The backbone the units belong to.
        tasks: Task names, in output order.
        granularity: Whether units are operators or blocks.
        tie: Whether equal instances stay one set of weights even where their inputs differ (AutoMTL), or
            are cloned there (trees).
        batchnorm: ``tied`` normalisation takes its unit's instance; ``task`` gives each task its own
            everywhere, as in AutoMTL's release, which leaves nothing to reuse after the first layer.
        units: Unit name → task name → instance.
        method: What made the plan.
        provenance: Free facts about how: seed, probabilities' file, budget.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["trunkline-plan"] = "trunkline-plan"
    version: Literal[1] = 1
    backbone: BackboneId
    tasks: tuple[str, ...] = Field(min_length=1)
    granularity: Granularity = "operator"
    tie: bool = True
    batchnorm: Literal["tied", "task"] = "tied"
    units: dict[str, dict[str, Instance]]
    method: str = "manual"
    provenance: dict[str, Any] = {}

    @field_validator("tasks")
    @classmethod
    def _named(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        check_task_names(tasks)
        return tasks

    def choice(self, unit: str, task: str) -> int | Literal["skip"]:
        """Return what ``task`` runs at ``unit``."""
        return self.units[unit][task]

    def to_json(self) -> str:
        """Return the plan as indented JSON, one unit a line."""
        head = self.model_dump(mode="json", exclude={"units"})
        rows = ",\n".join(f"    {json.dumps(unit)}: {json.dumps(row)}" for unit, row in self.units.items())
        text = json.dumps(head, indent=2)
        return f'{text[:-2]},\n  "units": {{\n{rows}\n  }}\n}}\n'

    def save(self, path: Path) -> None:
        """Write the plan to ``path``, atomically."""
        atomic_write(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path) -> SharingPlan:
        """Read a plan.

        Raises:
            InvalidConfig: The file is not a plan; every problem is named with its place.
        """
        try:
            return cls.model_validate_json(read_own(path, "plan"))
        except ValidationError as error:
            raise InvalidConfig([_problem(path, item) for item in error.errors()]) from error


def check_task_names(tasks: Sequence[str]) -> None:
    """Refuse task names that could not name an output, or that are given twice.

    Raises:
        InvalidConfig: A name is empty, odd or repeated.
    """
    problems = [
        Problem(f"{task!r} is not a task name", advice="use letters, digits, '_' and '-', starting with a letter")
        for task in tasks
        if not TASK_NAME.fullmatch(task)
    ]
    problems += [Problem(f"task {task!r} is given twice") for task in sorted(set(tasks)) if tasks.count(task) > 1]
    if problems:
        raise InvalidConfig(problems)


def make_plan(
    backbone: Graph,
    tasks: Sequence[str],
    choices: Mapping[str, Mapping[str, int | Literal["skip"]]],
    **settings: Any,
) -> SharingPlan:
    """Return a plan for ``backbone``, checked against it."""
    plan = SharingPlan(
        backbone=BackboneId(name=backbone.name, fingerprint=fingerprint(backbone)),
        tasks=tuple(tasks),
        units={unit: dict(row) for unit, row in choices.items()},
        **settings,
    )
    check_plan(plan, backbone)
    return plan


def check_plan(plan: SharingPlan, backbone: Graph, units: Sequence[Unit] | None = None) -> None:
    """Check that a plan fits a backbone and makes sense.

    Raises:
        InvalidConfig: It was made for another backbone, names unknown units or tasks, leaves some out,
            skips what cannot be skipped, or lets a task skip everything.
    """
    if plan.backbone.fingerprint != fingerprint(backbone):
        raise InvalidConfig(
            f"the plan is for another backbone: {plan.backbone.name!r} is not this {backbone.name!r}",
            advice="make the plan again for this backbone, or pass the file that it was made for",
        )
    found = list(units) if units is not None else find_units(backbone, plan.granularity)
    problems = _name_problems(plan, found) or _skip_problems(plan, backbone, found)
    if problems:
        raise InvalidConfig(problems)


def _name_problems(plan: SharingPlan, units: Sequence[Unit]) -> list[Problem]:
    names = [unit.name for unit in units]
    problems = [
        Problem(f"unknown unit {unit!r}", place=f"units.{unit}", advice=did_you_mean(unit, names))
        for unit in plan.units
        if unit not in set(names)
    ]
    problems += [Problem(f"unit {name!r} is missing", place="units") for name in names if name not in plan.units]
    for unit, row in plan.units.items():
        problems += [
            Problem(f"unknown task {task!r}", place=f"units.{unit}.{task}", advice=did_you_mean(task, plan.tasks))
            for task in row
            if task not in plan.tasks
        ]
        problems += [Problem(f"task {t!r} is missing", place=f"units.{unit}") for t in plan.tasks if t not in row]
    return problems


def _skip_problems(plan: SharingPlan, backbone: Graph, units: Sequence[Unit]) -> list[Problem]:
    skips = skips_of(backbone, units, plan.granularity)
    problems = [
        Problem(
            f"{unit.name!r} cannot be skipped: no skip has its output shape and costs less",
            place=f"units.{unit.name}.{task}",
        )
        for unit, skip in zip(units, skips, strict=True)
        for task in plan.tasks
        if skip is None and plan.choice(unit.name, task) == SKIP
    ]
    problems += [
        Problem(f"task {task!r} skips every unit: nothing of the backbone is left", place="units")
        for task in plan.tasks
        if units and all(plan.choice(unit.name, task) == SKIP for unit in units)
    ]
    return problems


def _problem(path: Path, item: Any) -> Problem:
    key = ".".join(str(part) for part in item["loc"])
    place = f"{path}: {key}" if key else str(path)
    advice = did_you_mean(str(item["loc"][-1]), SharingPlan.model_fields) if item["type"] == "extra_forbidden" else ""
    message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
    return Problem(message, place=place, advice=advice)
