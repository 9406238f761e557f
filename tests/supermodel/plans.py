"""Random plans for properties."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from trunkline.ingest.graph import Graph
from trunkline.supermodel.choice import OWN, SHARED, SKIPPED
from trunkline.supermodel.heads import make_head
from trunkline.supermodel.plan import SharingPlan, make_plan
from trunkline.supermodel.skip import skips_of
from trunkline.supermodel.units import find_units

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
    return SKIPPED if choice == "skip" else SHARED if choice == 0 else OWN


def light_heads(backbone: Graph, tasks: Sequence[str] = TASKS) -> Mapping[str, Graph]:
    return {task: make_head("light", backbone, index + 1) for index, task in enumerate(tasks)}
