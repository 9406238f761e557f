"""Every weight starts as its task's single-task model starts, whatever the plan calls its copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from backbones import chain, mobile, residual
from plans import TASKS, light_heads, random_plan
from torch import Tensor

from trunkline.graph.graph import TASKS_KEY, Graph, array_of
from trunkline.sharing.layouts.plans import all_shared, independent
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.origin import BackboneWeight, Origin
from trunkline.sharing.plan import SharingPlan
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.properties

BACKBONES = {"chain": chain, "residual": residual, "mobile": mobile}


def key(origin: Origin) -> Origin | str:
    """What a weight is, whoever holds it."""
    return origin.name if isinstance(origin, BackboneWeight) else origin


def drawn(backbone: Graph, plan: SharingPlan, seed: int = 4) -> dict[tuple[Origin | str, str], Tensor]:
    """Weights by what they are and by the first task that uses them."""
    heads = {task: head for task, head in light_heads(backbone).items() if task in plan.tasks}
    lowered = lower(plan, backbone, heads)
    weights = Twin(lowered.graph, seed=seed).weights()
    stored = lowered.graph.initializers
    owners = {name: stored[name].metadata_props[TASKS_KEY].split(",")[0] for name in lowered.origin}
    return {(key(origin), owners[name]): weights[name] for name, origin in lowered.origin.items()}


def singles(backbone: Graph, tasks: Sequence[str], seed: int = 4) -> dict[tuple[Origin | str, str], Tensor]:
    return {k: w for task in tasks for k, w in drawn(backbone, independent(backbone, [task]), seed).items()}


@pytest.mark.parametrize("name", BACKBONES)
def test_copies_start_as_their_first_task(name: str) -> None:
    """Shared, own, skipped: what several tasks use starts as the first of them would start, in output order."""
    backbone = BACKBONES[name]()
    expected = singles(backbone, TASKS)
    plans = [all_shared(backbone, TASKS), independent(backbone, TASKS)]
    plans += [random_plan(backbone, TASKS, seed, sharing=sharing) for seed, sharing in enumerate((0.2, 0.5, 0.8))]
    for plan in plans:
        found = drawn(backbone, plan)
        assert {owner for _, owner in found} <= set(TASKS)
        for (what, owner), weight in found.items():
            if (what, owner) in expected:  # a single-task model skips nothing
                assert torch.equal(weight, expected[what, owner]), (what, owner)


def test_projections_of_skips_start_by_task() -> None:
    """The same unit and task, in whatever plan; other tasks draw others."""
    backbone, found = BACKBONES["residual"](), {}
    for seed in range(30):
        plan = random_plan(backbone, TASKS, seed, sharing=0.2)
        for (what, owner), weight in drawn(backbone, plan).items():
            if not isinstance(what, str) and hasattr(what, "unit"):
                assert torch.equal(found.setdefault((what, owner), weight), weight)
    units = {what.unit for what, _ in found}
    assert units
    for unit in units:
        of_unit = [weight for (what, _), weight in found.items() if what.unit == unit]
        assert len(of_unit) > 1
        assert not torch.equal(of_unit[0], of_unit[1])


def test_draws_differ_between_tasks_weights_and_seeds() -> None:
    backbone = chain()
    first, second = singles(backbone, TASKS, seed=1), singles(backbone, TASKS, seed=2)
    random = {k: w for k, w in first.items() if w.numel() > 8 and float(w.std()) > 0}
    assert len({tuple(w.flatten()[:4].tolist()) for w in random.values()}) == len(random) > 10
    assert not any(torch.equal(w, second[k]) for k, w in random.items())


def test_a_lowered_file_is_drawn_alike_too() -> None:
    """Without a Twin, as `build` writes it: the lazy tensors follow the same rule."""
    backbone = chain()
    whole = lower(independent(backbone, TASKS), backbone, {}).graph.initializers
    for index, task in enumerate(TASKS):
        alone = lower(independent(backbone, [task]), backbone, {}).graph.initializers
        for name, value in alone.items():
            copy = whole[name if index == 0 or name not in whole else f"{name}@{index}"]
            np.testing.assert_array_equal(array_of(copy), array_of(value))
