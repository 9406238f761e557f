"""The sharing plan: who runs which copy of what. The one thing that a method decides.

A plan is a small JSON file that a person can read and write. Its schema is documented in ``docs/plan.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator

from trunkline.errors import InvalidConfig, Problem, problems_of
from trunkline.files.read import in_file, read_own
from trunkline.files.write import atomic_write
from trunkline.graph.branching_rule import Branching
from trunkline.sharing.file_entry import FileEntry
from trunkline.sharing.join import Join
from trunkline.sharing.units import Granularity
from trunkline.text import quoted

SKIP: Literal["skip"] = "skip"
TASK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""A task names an output of the model and is part of the names of its nodes, so its name is plain and short."""


Instance = Annotated[int, Field(ge=0, strict=True)]
"""Number of a weight instance. Strict: `true` and `"1"` could mean a number or not."""


class View(FileEntry):
    """The leading channels of an instance.

    Weights are read from the whole instance, so that a narrow task trains what a wide one uses too (Deep Elastic
    Networks, Ahn et al. 2019). Running statistics are the view's own: they describe another input.

    Attributes:
        instance: Number of the weight instance; 0 is the backbone's own.
        channels: Share of the unit's inner width, see :mod:`trunkline.sharing.view`; more than 0, at most 1.

    >>> View(instance=1, channels=0.25).model_dump()
    {'instance': 1, 'channels': 0.25}
    """

    instance: Instance = 0
    channels: float = Field(gt=0, le=1, strict=True)


def _kind_of(choice: object) -> str | None:
    if isinstance(choice, View | dict):
        return "<view>"
    if isinstance(choice, int) and not isinstance(choice, bool):  # to Python, `true` is a number
        return "<instance>"
    return "<skip>" if choice == SKIP else None


Choice = Annotated[
    Annotated[Instance, Tag("<instance>")] | Annotated[Literal["skip"], Tag("<skip>")] | Annotated[View, Tag("<view>")],
    Discriminator(
        _kind_of,
        custom_error_type="choice",
        custom_error_message='input should be the number of an instance, "skip", or a view',
    ),
]
"""What a task runs at a unit: a weight instance, what stands in for the unit, or a view of an instance."""


class BackboneId(FileEntry):
    """Which backbone a plan was made for.

    Attributes:
        name: The Graph's name, for people; nothing is compared with it.
        fingerprint: SHA-256 of the Graph's structure, see :mod:`trunkline.graph.fingerprint`.
    """

    name: str
    fingerprint: str


class SharingPlan(FileEntry):
    """For each unit and task: the number of the weight instance it runs, ``skip``, or a channel view.

    Two tasks share a unit's weights when they hold the same number there; they also share its *execution*
    when everything before it was equal too. Instance 0 keeps the backbone's weight names.

    Attributes:
        format: Tells a plan from Trunkline's other JSON files.
        version: Version of the format; a file of version 1 is read as one of version 2.
        backbone: The backbone the units belong to.
        tasks: Task names, in output order.
        granularity: ``operator`` or ``block``: what the units are.
        tie: Whether equal instances stay one set of weights even where their inputs differ (AutoMTL), or
            are cloned there (trees).
        batchnorm: ``tied`` normalisation takes its unit's instance; ``task`` gives each task its own,
            as in AutoMTL's release, which leaves nothing to reuse after the first layer.
        branching: Of a plan about blocks: the rule they were cut by, where it is not the default one.
        units: Unit name → task name → instance, ``skip``, or a view.
        joins: Fragments between the columns, in an order in which each reads only what came before.
        method: Name of the method that made the plan.
        provenance: Free facts about how it was made: seed, file of probabilities, budget.

    Two tasks that share the first convolution; then one has its own, and the other skips:

    >>> plan = SharingPlan(
    ...     backbone=BackboneId(name="net", fingerprint="12ab"),
    ...     tasks=("depth", "seg"),
    ...     units={"conv1": {"depth": 0, "seg": 0}, "conv2": {"depth": 1, "seg": "skip"}},
    ... )
    >>> plan.choice("conv2", "depth"), plan.choice("conv2", "seg")
    (1, 'skip')

    :func:`trunkline.sharing.plan_check.make_plan` makes a plan for a backbone and checks it.
    """

    format: Literal["trunkline-plan"] = "trunkline-plan"
    version: Literal[1, 2] = 2
    backbone: BackboneId
    tasks: tuple[str, ...] = Field(min_length=1)
    granularity: Granularity = "operator"
    tie: bool = True
    batchnorm: Literal["tied", "task"] = "tied"
    branching: Branching | None = None
    units: dict[str, dict[str, Choice]]
    joins: tuple[Join, ...] = ()
    method: str = "manual"
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("version")
    @classmethod
    def _current(cls, version: int) -> int:
        """A plan of version 1 is one of version 2 without joins and views."""
        return 2

    @field_validator("tasks")
    @classmethod
    def _named(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        check_task_names(tasks)
        return tasks

    def choice(self, unit: str, task: str) -> Choice:
        """Return what ``task`` runs at ``unit``."""
        return self.units[unit][task]

    def to_json(self) -> str:
        """Return the plan as indented JSON, one unit a line."""
        content = self.model_dump(mode="json", exclude_none=True)
        units = content.pop("units")
        # Most plans have no joins, and a person need not know the key to read them.
        if not self.joins:
            del content["joins"]
        # By hand, because json can indent all levels or none, and a unit must be one line to be compared by eye.
        rows = [f"    {json.dumps(unit)}: {json.dumps(row)}" for unit, row in units.items()]
        head = json.dumps(content, indent=2).removesuffix("\n}")
        return "\n".join([f"{head},", '  "units": {', ",\n".join(rows), "  }", "}", ""])

    def save(self, path: Path) -> None:
        """Write the plan to ``path``, atomically."""
        atomic_write(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path) -> SharingPlan:
        """Read a plan.

        Raises:
            InvalidConfig: The file is not a plan; every problem is named with its place.
        """
        content = read_own(path, "plan")
        try:
            with in_file(path):  # the rule of task names knows no file
                plan = cls.model_validate_json(content)
        except ValidationError as error:
            raise InvalidConfig(problems_of(error, cls, str(path))) from error
        return plan


def check_task_names(tasks: Sequence[str]) -> None:
    """Refuse task names that could not name an output, or that are given twice, and no names at all.

    Raises:
        InvalidConfig: There is no name, or one has other characters than :data:`TASK_NAME` allows, or is repeated.
    """
    if not tasks:
        raise InvalidConfig("there is no task", advice="name at least one")
    advice = "use letters, digits, '_' and '-', starting with a letter"
    odd = [task for task in tasks if not TASK_NAME.fullmatch(task)]
    twice = [task for task in sorted(set(tasks)) if tasks.count(task) > 1]
    problems = [Problem(f"{quoted(task)} is not a task name", advice=advice) for task in odd]
    problems += [Problem(f"task {quoted(task)} is given twice") for task in twice]
    if problems:
        raise InvalidConfig(problems)
