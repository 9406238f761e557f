"""Whether a plan fits a backbone and makes sense: every problem, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.graph.branching import branching_of
from trunkline.graph.branching_rule import DEFAULT_BRANCHING, Branching
from trunkline.graph.graph import Graph
from trunkline.sharing.backbone import Backbone, UnitTable
from trunkline.sharing.columns import Columns
from trunkline.sharing.join_check import join_problems
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.plan import SKIP, BackboneId, Choice, SharingPlan, View
from trunkline.text import quoted


def make_plan(
    backbone: Graph | Backbone, tasks: Sequence[str], choices: Mapping[str, Mapping[str, Choice]], **settings: Any
) -> SharingPlan:
    """Return a plan for ``backbone``, checked against it.

    Args:
        backbone: The backbone whose units the tasks run.
        tasks: Task names in output order.
        choices: What is run, by unit and task.
        settings: Other fields of :class:`~trunkline.sharing.plan.SharingPlan`.

    Raises:
        InvalidConfig: See :func:`check_plan`.

    >>> from trunkline.ingest.read import read
    >>> backbone = Backbone(read("zoo:tiny"))
    >>> first, *others = backbone.table("operator").names
    >>> choices = {first: {"depth": 0, "seg": 0}} | {unit: {"depth": 0, "seg": 1} for unit in others}
    >>> plan = make_plan(backbone, ["depth", "seg"], choices)
    >>> plan.backbone.name, plan.choice(first, "seg"), plan.choice(others[0], "seg")
    ('tiny', 0, 1)
    """
    backbone = Backbone.of(backbone)
    rule = _branching_of(backbone, settings.get("granularity"))
    plan = SharingPlan(
        backbone=BackboneId(name=backbone.name, fingerprint=backbone.fingerprint),
        branching=rule,
        tasks=tuple(tasks),
        units={unit: dict(row) for unit, row in choices.items()},
        **settings,
    )
    check_plan(plan, backbone)
    return plan


def check_plan(plan: SharingPlan, backbone: Graph | Backbone) -> None:
    """Check that a plan fits a backbone and makes sense.

    Raises:
        InvalidConfig: It was made for another backbone, names unknown units or tasks, leaves some out, skips or views
            what cannot be, lets a task skip everything, or has joins that cannot run.
    """
    backbone = Backbone.of(backbone)
    if plan.backbone.fingerprint != backbone.fingerprint:
        raise InvalidConfig(
            f"the plan is for another backbone: {quoted(plan.backbone.name)} is not this {quoted(backbone.name)}",
            advice="make the plan again for this backbone, or pass the file that it was made for",
        )
    rule = _branching_of(backbone, plan.granularity)
    if plan.branching != rule:
        theirs, ours = ((each or DEFAULT_BRANCHING).in_words for each in (plan.branching, rule))
        raise InvalidConfig(
            f"the plan is for other blocks: {theirs}; those of this backbone are {ours}",
            place="branching",
            advice="read the backbone with the branching that the plan was made for, or make the plan again",
        )
    table = backbone.table(plan.granularity)
    # Choices can be looked up only where every unit and task is there, so names come first.
    problems = list(_name_problems(plan, table)) or [*_skip_problems(plan, table), *_view_problems(plan, backbone)]
    # Most plans have no joins, and a search checks many.
    if plan.joins and not problems:
        joins = [OpenJoin(join) for join in plan.joins]
        problems = list(join_problems(Columns.of_plan(plan, backbone), joins))
    if problems:
        raise InvalidConfig(problems)


def _branching_of(backbone: Backbone, granularity: object) -> Branching | None:
    """Return the rule of a backbone's blocks where a plan depends on it; nothing for the default one."""
    if granularity != "block":
        return None
    rule = branching_of(backbone.graph)
    return None if rule.is_default else rule


def _name_problems(plan: SharingPlan, table: UnitTable) -> Iterator[Problem]:
    names = table.names
    for unit in plan.units:
        if unit not in names:
            yield Problem(f"unknown unit {quoted(unit)}", place=f"units.{unit}", advice=did_you_mean(unit, names))
    for name in names:
        if name not in plan.units:
            yield Problem(f"unit {quoted(name)} is missing", place="units")
    for unit, row in plan.units.items():
        for task in row:
            if task not in plan.tasks:
                advice = did_you_mean(task, plan.tasks)
                yield Problem(f"unknown task {quoted(task)}", place=f"units.{unit}.{task}", advice=advice)
        for task in plan.tasks:
            if task not in row:
                yield Problem(f"task {quoted(task)} is missing", place=f"units.{unit}")


def _skip_problems(plan: SharingPlan, table: UnitTable) -> Iterator[Problem]:
    for name, skip in zip(table.names, table.skips, strict=True):
        for task in plan.tasks:
            if skip is None and plan.choice(name, task) == SKIP:
                text = f"{quoted(name)} cannot be skipped: no skip has its output shape and costs less"
                yield Problem(text, place=f"units.{name}.{task}")
    for task in plan.tasks:
        # A backbone without weights has no units; then nothing is skipped, although `all` of none would hold.
        if table.names and all(plan.choice(name, task) == SKIP for name in table.names):
            yield Problem(f"task {quoted(task)} skips every unit: nothing of the backbone is left", place="units")


def _view_problems(plan: SharingPlan, backbone: Backbone) -> Iterator[Problem]:
    for unit in backbone.table(plan.granularity).units:
        for task in plan.tasks:
            place = f"units.{unit.name}.{task}"
            if not isinstance(plan.choice(unit.name, task), View):
                continue
            if plan.granularity != "block":
                # One operator has no inner map: narrowing its output would change what the next unit reads.
                yield Problem("only blocks have channel views", place, 'make the plan with `granularity = "block"`')
            elif backbone.span(unit) is None:
                text = f"{quoted(unit.name)} has no inner map that could be narrowed"
                yield Problem(text, place, "run it whole")
