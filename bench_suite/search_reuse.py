"""Work that a random policy leaves after lowering. A simulation: nothing is trained, nothing is timed.

It shows why BatchNormalization follows its convolution, and why a search has to be charged for what will really
run. Every operator of every task draws its choice alone. Given is the share of multiply-accumulates that is left,
where 1 is what the tasks would run without sharing any execution (skips counted as skipped). *Ours* has
BatchNormalization tied to its convolution's choice; in *theirs* each task has its own, as in AutoMTL's release. The
last row of each number of tasks shares fewer operators than the first two, but in one piece, from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench_suite.common import Series
from bench_suite.models import RESNET, TINY, backbone, task_names
from bench_suite.result import Result, speed_up
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.plan import SKIP
from trunkline.sharing.plan_check import make_plan
from trunkline.sharing.skip import Skip
from trunkline.sharing.units import Unit
from trunkline.supermodel.methods.automtl import OWN, SHARED, SKIPPED

SIZE = (128, 256)
"""Of the image; shares of MACs hardly depend on it."""

Distribution = NDArray[np.float64]
Choices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Net:
    """A backbone with its units and their skips."""

    backbone: Backbone
    units: Sequence[Unit]
    skips: Sequence[Skip | None]


def run(quick: bool) -> list[Result]:
    """Simulate each kind of policy for 2, 3 and 5 tasks."""
    graph = backbone(TINY if quick else RESNET, None if quick else SIZE)
    found = Backbone(graph)
    net = Net(found, found.table("operator").units, found.table("operator").skips)
    draws = 2 if quick else 20
    return [
        _simulate(net, f"{count} tasks, {name}", count, distribution, draws)
        for count in ((2,) if quick else (2, 3, 5))
        for name, distribution in _policies(net).items()
    ]


def _policies(net: Net) -> dict[str, Distribution]:
    """Return ``[units, 3]`` by name."""
    piece = np.where(np.arange(len(net.units)) < 0.7 * len(net.units), 1.0, 0.0)
    return {
        "P(shared) = 0.97": _policy(net, 0.97),
        "P(shared) = 0.9": _policy(net, 0.9),
        "uniform": _policy(net, None),
        "first 70 % shared": np.stack([piece, 1 - piece, 0 * piece], axis=1),
    }


def _policy(net: Net, shared: float | None) -> Distribution:
    """Return P(shared) = ``shared`` and the rest in equal parts for the options that exist; equal parts if None."""
    p: Distribution = np.ones((len(net.units), 3))
    p[:, SKIPPED] = [skip is not None for skip in net.skips]
    if shared is None:
        p /= p.sum(axis=1, keepdims=True)
        return p
    p[:, SHARED] = 0
    p *= (1 - shared) / p.sum(axis=1, keepdims=True)
    p[:, SHARED] = shared
    return p


def _simulate(net: Net, name: str, count: int, distribution: Distribution, draws: int) -> Result:
    generator = np.random.default_rng(0)
    tied: Series = []
    apart: Series = []
    for _ in range(draws):
        choices = _draw(generator, distribution, count)
        tied.append(_macs_left(net, choices, "tied"))
        apart.append(_macs_left(net, choices, "task"))
    return speed_up(f"{name}, MACs left", tied, apart, unit="")


def _draw(generator: np.random.Generator, distribution: Distribution, tasks: int) -> Choices:
    """Return choices ``[units, tasks]`` in which no task skips everything."""
    cumulative = np.cumsum(distribution, axis=1)[:, None, :]
    while True:
        choices: Choices = (generator.random((len(distribution), tasks, 1)) >= cumulative[..., :-1]).sum(axis=-1)
        if not (choices == SKIPPED).all(axis=0).any():
            return choices


def _macs_left(net: Net, choices: Choices, batchnorm: Literal["tied", "task"]) -> float:
    tasks = task_names(choices.shape[1])
    rows: dict[str, dict[str, Any]] = {
        unit.name: {task: _instance(int(choices[i, t]), t) for t, task in enumerate(tasks)}
        for i, unit in enumerate(net.units)
    }
    plan = make_plan(net.backbone, tasks, rows, batchnorm=batchnorm)
    return executed_cost(plan, net.backbone).backbone.macs / _macs_alone(net, choices)


def _instance(choice: int, task: int) -> int | Literal["skip"]:
    return {SHARED: 0, OWN: task + 1}.get(choice, SKIP)


def _macs_alone(net: Net, choices: Choices) -> int:
    """Return what the tasks run if each runs all it needs by itself."""
    run = [unit.cost.macs for unit in net.units]
    skipped = [0 if skip is None else skip.macs for skip in net.skips]
    return sum(skipped[i] if choice == SKIPPED else run[i] for i, row in enumerate(choices) for choice in row)
