"""A tiny supermodel, tiny data and tiny phases, with everything a resume can forget: see `Tiny`."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.recipe import Moment, Move, Optimiser, Part, Phase, Schedule, Turn
from trunkline.train.data.batches import Batch
from trunkline.train.loop.batch_feed import SplitData
from trunkline.train.loop.runner import Outcome, Runner
from trunkline.train.progress.progress import Silence
from trunkline.train.progress.step_report import StepReport
from trunkline.train.run_folder.run_folder import open_run
from trunkline.train.tasks.registry import make_task
from trunkline.twins.components import Component

TASKS = [make_task("depth", "depth", 1), make_task("edges", "edges", 1, weight=2.0)]
MODES = ("average", "sample", "argmax")
ALL, FOR_POLICY, FOR_WEIGHTS = Part(), Part(share=(0.0, 0.25)), Part(share=(0.25, 1.0))


class Tiny(nn.Module):
    """Shared conv + BatchNorm + dropout, noisy soft choice between two convs per task, one head per task."""

    def __init__(self, seed: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.tasks = ("depth", "edges")
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.own = nn.ModuleDict({task: nn.Conv2d(4, 4, 1) for task in self.tasks})
        self.shared = nn.Conv2d(4, 4, 1)
        self.head = nn.ModuleDict({task: nn.Conv2d(4, 1, 1) for task in self.tasks})
        self.policy = nn.ParameterDict({task: nn.Parameter(torch.zeros(2)) for task in self.tasks})
        self.moment = Moment("", "argmax")
        self.temperature = 1.0
        self.spoil: dict[int, str] = {}

    def groups(self) -> Mapping[str, Mapping[str, nn.Parameter]]:
        groups: dict[str, dict[str, nn.Parameter]] = {"weights.backbone": {}, "weights.heads": {}, "policy": {}}
        for name, parameter in self.named_parameters():
            part = name.partition(".")[0]
            groups[{"head": "weights.heads", "policy": "policy"}.get(part, "weights.backbone")][name] = parameter
        return groups

    def users(self) -> Mapping[str, frozenset[str]]:
        alone = {name: task for task in self.tasks for name in self.state_dict() if f".{task}" in name}
        return {name: frozenset([alone[name]] if name in alone else self.tasks) for name in self.state_dict()}

    def option_probabilities(self) -> Mapping[str, Mapping[str, Sequence[float]]]:
        return {task: {"conv": torch.softmax(p, 0).tolist()} for task, p in self.policy.items()}

    def statistics(self) -> Mapping[str, Tensor]:
        return {name: tensor for name, tensor in self.named_buffers() if name.startswith("norm.")}

    def reset_statistics(self) -> None:
        self.norm.reset_running_stats()

    def components(self) -> tuple[Component, ...]:
        return (Component(self.tasks, frozenset(self.state_dict())),)

    def at(self, moment: Moment) -> Mapping[str, float]:
        if moment.mode not in MODES:
            raise InvalidConfig(f"no mode {moment.mode}", place="mode", advice=did_you_mean(moment.mode, MODES))
        self.moment, self.temperature = moment, 5 * 0.9**moment.step
        return {"temperature": self.temperature}

    def needs_total(self, mode: str) -> bool:
        return False

    def forward(self, image: Tensor, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        x = torch.relu(self.norm(self.stem(image)))
        x = nn.functional.dropout(x, 0.2, self.training)
        return {task: self._one(task, x) for task in tasks or self.tasks}

    def terms(self, names: Sequence[str], losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        made = {"regularization": self._regularization, "squares": lambda: sum(loss**2 for loss in losses.values())}
        for name in names:
            if name not in made:
                raise InvalidConfig(f"no term {name}", place=f"terms.{name}", advice=did_you_mean(name, made))
        return {name: made[name]() for name in names}

    def _regularization(self) -> Tensor:
        value = sum(nn.functional.softplus(p[1] - p[0]) for p in self.policy.values())
        return value * (float("nan") if self.spoil.get(self.moment.step) == "term" else 1.0)

    def _one(self, task: str, x: Tensor) -> Tensor:
        p = self._choice(self.policy[task])
        out = self.head[task](p[0] * self.shared(x) + p[1] * self.own[task](x))
        return out * float("inf") if self.spoil.get(self.moment.step) == task and self.training else out

    def _choice(self, policy: Tensor) -> Tensor:
        if self.moment.mode == "argmax":
            return nn.functional.one_hot(policy.argmax(), 2).float()
        return torch.softmax((policy + torch.randn(2, device=policy.device)) / self.temperature, 0)


class Numbered:
    """Batches made of their number."""

    def __init__(self, salt: int, size: int = 2) -> None:
        self.salt, self.size = salt, size
        self.asked: list[int] = []

    def batch(self, step: int) -> Batch:
        self.asked.append(step)
        draw = np.random.default_rng([self.salt, step])
        image = torch.from_numpy(draw.standard_normal((self.size, 3, 6, 6), np.float32))
        depth = image.mean(1, keepdim=True).abs() + 0.1
        return Batch(image, {"depth": depth, "edges": (image[:, :1] > 0).float()})


def data(**sources: Numbered) -> SplitData:
    """Three parts of the training samples, some of them perhaps given: ``all``, ``weights`` or ``policy``."""
    validation = Numbered(9)
    parts = {
        ALL: sources.get("all") or Numbered(0),
        FOR_WEIGHTS: sources.get("weights") or Numbered(1),
        FOR_POLICY: sources.get("policy") or Numbered(2),
    }
    return SplitData(parts.__getitem__, {"val": lambda: [validation.batch(0), validation.batch(1)]})


def search_phase(steps: int = 17, **changes: object) -> Phase:
    """Two optimisers in alternation, decay, schedules, a term: 2 policy steps, 3 weight steps, and so on."""
    settings: dict[str, object] = {
        "name": "policy",
        "mode": "sample",
        "steps": steps,
        "turns": (
            Turn(
                name="policy",
                steps=2,
                data=FOR_POLICY,
                moves=(Move(group="policy", optimiser=Optimiser(lr=0.1, weight_decay=5e-4)),),
                terms={"regularization": 0.01},
            ),
            Turn(
                name="weights",
                steps=3,
                data=FOR_WEIGHTS,
                moves=(
                    Move(
                        optimiser=Optimiser(kind="sgd", lr=0.05, weight_decay=1e-3),
                        schedule=Schedule(kind="step", size=4, gamma=0.5),
                    ),
                ),
            ),
        ),
        "clip_norm": 5.0,
        "log_every": 1,
        "eval_every": 6,
        "checkpoint_every": 3,
    }
    return Phase.model_validate({**settings, **changes})


def train_phase(steps: int = 9, *, joint: bool = True, **changes: object) -> Phase:
    """Adam on all weights, with a cosine."""
    optimiser = Optimiser(lr=0.01, betas=(0.5, 0.999), weight_decay=1e-4)
    turn = Turn(moves=(Move(optimiser=optimiser, schedule=Schedule(kind="cosine")),), joint=joint)
    settings: dict[str, object] = {"steps": steps, "turns": (turn,), "log_every": 1, "checkpoint_every": 4}
    return Phase.model_validate({**settings, **changes})


def run(folder: Path, phase: Phase, *, model: Tiny | None = None, seed: int = 5, **options: object) -> Outcome:
    """One session of a run."""
    with open_run(folder, {"fake": True}, seed=seed) as opened:
        source = options.pop("data", None) or data()
        return Runner(model or Tiny(), TASKS, source, phase, opened, seed=seed, **options).run()


def digests(checkpoint: Path) -> dict[str, str]:
    """SHA-256 of weights (with BatchNorm's statistics) and of all optimisers' state."""
    names = ("model.safetensors", "optimisers.safetensors")
    return {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in names}


class Stop(Silence):
    """Calls `action` after step `at`."""

    def __init__(self, at: int, action: Callable[[], object]) -> None:
        self.at, self.action = at, action

    def step(self, report: StepReport) -> None:
        if report.step == self.at:
            self.action()


class Echo(Silence):
    """Prints every step, for a parent that kills by progress."""

    def step(self, report: StepReport) -> None:
        sys.stdout.write(f"{report.step}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), search_phase(int(sys.argv[2])), progress=Echo())
