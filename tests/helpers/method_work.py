"""What a method needs to decide, without data: a setup, and work that shakes weights where a run would train."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from backbones import BACKBONES, small_head, two_taps
from plans import light_heads

from trunkline.recipe import Moment, Phase
from trunkline.seeds import seed_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared, independent
from trunkline.sharing.lowering.lower import Lowered, lower
from trunkline.sharing.origin import BackboneWeight
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.choice_model import ChoiceModel
from trunkline.supermodel.methods.base import Method, MethodOptions, Setup
from trunkline.supermodel.methods.registry import method_named
from trunkline.supermodel.work import Start, Work
from trunkline.train.loop.kept import Kept
from trunkline.twins.twin import Twin
from trunkline.verbs.training import TrainedPlan

T = TypeVar("T")
TASKS = ("depth", "normals", "seg")
THREE = ("chain", "residual", "mobile")
"""A chain, a residual and an inverted residual network."""
NETWORKS = (*THREE, "taps")
"""And one of which a task reads two feature maps."""
DEGENERATE: Mapping[str, Mapping[str, Any]] = {
    "cross-stitch": {"alpha": 1.0},
    "sluice": {"alpha": 1.0, "beta": 1.0},
    "nddr": {"alpha": 1.0, "normalise": False},  # its BatchNormalization alone divides by √(1 + ε)
    "mtan": {"mask_start": 100.0},
    "mtl-nas": {"alpha": 1.0, "normalise": False},  # as NDDR-CNN, and no edge is decided for at the start
}
"""Options with which a soft method is the single-task models, or the multi-task one, by method."""
ONE_COLUMN = ("mtan",)
"""Soft methods that stand beside one shared column, and so degenerate to the multi-task model."""


def setup_for(name: str, tasks: Sequence[str] = TASKS, seed: int = 3) -> Setup:
    backbone = {**BACKBONES, "taps": two_taps}[name]()
    heads = {task: head for task, head in light_heads(backbone).items() if task in tasks}
    if name == "taps" and TASKS[0] in heads:
        heads[TASKS[0]] = small_head(backbone, 1)
    heads = {task: heads[task] for task in tasks}
    return Setup(Backbone(backbone), heads, tuple(tasks), dict.fromkeys(tasks, "depth"), seed, Phase(steps=4), 4)


def columns_for(name: str, setup: Setup) -> SharingPlan:
    """The columns of a soft method, without its joins."""
    return (all_shared if name in ONE_COLUMN else independent)(setup.backbone, setup.tasks)


def options_for(name: str, setup: Setup, folder: Path) -> MethodOptions:
    """Options of a method, with what it needs."""
    from trunkline.sharing.layouts.plans import share_until

    kind = method_named(name)
    needed: dict[str, Any] = {}
    if name == "share-until":
        needed = {"block": "0"}
    if name == "layout":
        depth = len(setup.backbone.table("block").units)
        first, *others = sorted(setup.tasks)  # the same layout, whatever the order of the outputs
        groups = [[[first, *others]], *[[group for group in ([first], others) if group]] * (depth - 1)]
        needed = {"file": folder / "layout.json"}
        (folder / "layout.json").write_text(str(groups).replace("'", '"'))
    if name == "what-to-share":
        needed = {"max_models": max(1.0, len(setup.tasks) - 0.5), "images": 12}
    if name == "plan":
        needed = {"file": folder / "plan.json"}
        share_until(setup.backbone, setup.tasks, "0").save(folder / "plan.json")
    return kind.Options.model_validate(needed)


@dataclass
class ShakenWork:
    """Shakes weights and policies, as training would move them."""

    setup: Setup
    seed: int = 0

    def fit(self, name: str, model: ChoiceModel, phases: Sequence[Phase]) -> Mapping[str, Mapping[str, float]]:
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for tensor in model.store.weights().values():
                tensor.add_(0.05 * torch.rand(tensor.shape, generator=generator))
            for logits in model.policies:
                logits.add_(2 * torch.randn(logits.shape, generator=generator))
        for phase in phases:
            model.at(phase.moment(0))
        return {}

    def train(
        self, name: str, plan: SharingPlan, *, start: Start | None = None, phases: Sequence[Phase] | None = None
    ) -> TrainedPlan:
        lowered = lower(
            plan, self.setup.backbone, {task: head for task, head in self.setup.heads.items() if task in plan.tasks}
        )
        weights = shaken_weights(lowered, self.seed)
        losses = {task: float(len(task)) for task in plan.tasks}
        shared = [len(set(map(str, row.values()))) == 1 for row in plan.units.values()]
        # Any number that follows from the plan and the task alone, whatever the order of the outputs.
        metrics = {task: {"quality": 1.0 + _fraction(f"{sorted(plan.tasks)} {task} {shared}")} for task in plan.tasks}
        directions = {task: {"quality": True} for task in plan.tasks}
        kept = Kept({}, {}, metrics)
        return TrainedPlan(plan, lowered.graph, weights, lowered.origin, kept, {}, losses, 0.0, directions)

    def each(self, jobs: Mapping[str, Callable[[Work], T]]) -> dict[str, T]:
        return {name: job(self) for name, job in jobs.items()}

    def judge(self, name: str, trained: TrainedPlan, images: int) -> dict[str, np.ndarray]:
        """Losses that follow from the task and the image alone."""
        return {
            task: np.array([_fraction(f"{task} {number}") for number in range(images)]) for task in trained.plan.tasks
        }

    def probe(
        self, name: str, trained: TrainedPlan, values: Sequence[str], images: int, pooled: int | None = None
    ) -> dict[str, np.ndarray]:
        twin = Twin(trained.graph, weights=trained.weights).eval()
        with torch.no_grad():
            return {key: value.numpy() for key, value in twin(image(images), values).items()}


def _fraction(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


@dataclass
class StillWork(ShakenWork):
    """Trains as ShakenWork does, but leaves a supermodel as it is."""

    def fit(self, name: str, model: ChoiceModel, phases: Sequence[Phase]) -> Mapping[str, Mapping[str, float]]:
        return {}


def shaken_weights(lowered: Lowered, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that follow from what they are, whatever the order of the tasks."""
    found = {}
    for name, tensor in Twin(lowered.graph, seed=2).weights().items():
        origin = lowered.origin[name]
        # Where every column has its own, the number of the instance is that of the task.
        if isinstance(origin, BackboneWeight) and origin.column:
            origin = replace(origin, instance=0)
        generator = torch.Generator().manual_seed(seed_of(repr(origin), seed) % 2**63)
        found[name] = (tensor + 0.05 * torch.rand(tensor.shape, generator=generator)).numpy()
    return found


def method_for(name: str, setup: Setup, folder: Path, **options: Any) -> Method[Any]:
    chosen = options_for(name, setup, folder)
    return method_named(name)(setup, chosen.model_copy(update=options))


def image(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def hard(model: ChoiceModel, generator: torch.Generator, *, pinned: bool = True) -> dict[Any, int]:
    """Let every choice be one that is drawn, for certain.

    Args:
        model: Of a space.
        generator: Of the draws.
        pinned: Whether the first choice of every task is its first option, so that no task skips everything.
    """
    logits: dict[str, torch.Tensor] = {}
    for name, group in model.groups_of_choices.items():
        mask = group.mask()
        drawn = torch.rand(mask.shape, generator=generator).masked_fill(~mask, -1)
        if pinned:
            drawn[0, 0] = 2
        picked = drawn.argmax(-1)
        # A read that is on or off has one logit.
        rows = 2 * picked[:, None] - 1 if group.binary else torch.nn.functional.one_hot(picked, mask.shape[-1])
        logits[name] = 1000.0 * rows
    model.set_policy(logits)
    model.at(Moment("test", "argmax"))
    return model.picks()
