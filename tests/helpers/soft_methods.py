"""What tests of soft methods have in common: what they find, and what its model computes at the start."""

from __future__ import annotations

from typing import Any

import torch
from method_work import TASKS, ShakenWork, image, method_for, setup_for, shaken_weights

from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.work import Found
from trunkline.twins.twin import Twin


def found_for(name: str, backbone: str, tasks: tuple[str, ...] = TASKS, **options: Any) -> tuple[Setup, Found]:
    """What a method finds on one of the small networks."""
    setup = setup_for(backbone, tasks)
    return setup, method_for(name, setup, None, **options).find(ShakenWork(setup))


def lowered_of(setup: Setup, found: Found) -> Lowered:
    """The model of what was found."""
    return lower(found.plan, setup.backbone, setup.heads)


def started(setup: Setup, found: Found) -> Twin:
    """The model as its training begins: columns from single-task models, joins as their kind says."""
    lowered = lowered_of(setup, found)
    twin = Twin(lowered.graph)
    twin.load_weights(found.start(lowered), strict=False)
    return twin.eval()


def shaken(setup: Setup, found: Found) -> Twin:
    """The model with weights that hide nothing."""
    lowered = lowered_of(setup, found)
    return Twin(lowered.graph, weights=shaken_weights(lowered)).eval()


def outputs(twin: Twin) -> dict[str, torch.Tensor]:
    """What it computes for the image of these tests."""
    with torch.no_grad():
        return twin(image())


def single_task(setup: Setup) -> dict[str, torch.Tensor]:
    """What the single-task models compute that a soft method starts from."""
    lowered = lower(independent(setup.backbone, setup.tasks), setup.backbone, setup.heads)
    return outputs(Twin(lowered.graph, weights=shaken_weights(lowered)).eval())


def values(twin: Twin) -> dict[str, torch.Tensor]:
    """All values by name."""
    with torch.no_grad():
        return twin.run_values(image())
