"""Random plans for properties."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
from automtl_model import OWN, SHARED, SKIPPED, AutoMTL

from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.graph import Graph
from trunkline.sharing.origin import BackboneWeight, Origin
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.skip import skips_of
from trunkline.sharing.units import find_units

TASKS = ("depth", "normals", "seg")


def random_plan(backbone: Graph, tasks: Sequence[str], seed: int, *, sharing: float = 0.6) -> SharingPlan:
    """Draw a valid plan; the first unit always runs, so that no task skips everything."""
    rng = random.Random(seed)
    units = find_units(backbone)
    rows: dict[str, dict[str, int | str]] = {}
    for index, (unit, skip) in enumerate(zip(units, skips_of(backbone, units), strict=True)):
        for number, task in enumerate(tasks):
            options: list[int | str] = [number + 1, *(["skip"] if skip is not None and index else [])]
            rows.setdefault(unit.name, {})[task] = 0 if rng.random() < sharing else rng.choice(options)
    return make_plan(backbone, tasks, rows)


def option_of(choice: int | str) -> int:
    """Return AutoMTL's option number of a plan's entry."""
    return {"skip": SKIPPED, 0: SHARED}.get(choice, OWN)


def choose(model: AutoMTL, plan: SharingPlan) -> None:
    """Make ``plan`` what the supermodel finds most likely, and let it run that."""
    logits = torch.zeros(len(model.units), len(plan.tasks), 3)
    for i, unit in enumerate(model.units):
        for t, task in enumerate(plan.tasks):
            logits[i, t, option_of(plan.choice(unit.name, task))] = 1
    model.set_logits(logits)
    model.mode("argmax")


def of_any_column(origin: Origin, instance: int | None = None) -> Origin:
    """A weight whoever reads it, in its own instance or another; statistics are equal until they are trained."""
    if not isinstance(origin, BackboneWeight):
        return origin
    return BackboneWeight(origin.name, origin.instance if instance is None else instance)


def light_heads(backbone: Graph, tasks: Sequence[str] = TASKS) -> Mapping[str, Graph]:
    return {task: make_head("light", backbone, index + 1) for index, task in enumerate(tasks)}
