"""Whose running statistics a column of the supermodel reads, once its choices are hard.

In training every task's column moves statistics of its own, because it feeds another mixture to each node. Hard
choices amount to a lowered model, and there columns that compute the same are one computation with one set of
statistics: the first column's. Reading that one, the supermodel gives what the lowered model gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trunkline.graph.graph import Graph
from trunkline.sharing.lowering.lower import Walk
from trunkline.sharing.origin import BackboneWeight
from trunkline.sharing.plan import BackboneId, SharingPlan
from trunkline.sharing.skip import Skip
from trunkline.sharing.units import Unit
from trunkline.supermodel.choice import instance_of


def leaders_of(
    backbone: Graph,
    units: Sequence[Unit],
    skips: Sequence[Skip | None],
    tasks: Sequence[str],
    choices: Sequence[Sequence[int]],
    batchnorm: Literal["tied", "task"],
) -> dict[str, dict[str, str]]:
    """Return, by task and node, the task whose statistics are read; ``choices`` are options ``[units][tasks]``."""
    rows = {
        unit.name: {task: instance_of(options[number], number) for number, task in enumerate(tasks)}
        for unit, options in zip(units, choices, strict=True)
    }
    identity = BackboneId(name=backbone.name, fingerprint="")
    walk = Walk(
        SharingPlan(backbone=identity, tasks=tuple(tasks), units=rows, batchnorm=batchnorm), backbone, units, skips
    )
    leaders: dict[str, dict[str, str]] = {}
    for task in tasks:
        walk.run(task)
        leaders[task] = {}
    for (node, task), weights in walk.read.items():
        for weight in weights:
            if isinstance(weight, BackboneWeight) and weight.column:
                leaders[task][node] = weight.column
    return leaders
