"""The training loop: one phase, from its start or its last checkpoint to its end.

Everything random in a step is a pure function of (seed, phase, step): torch's generators are seeded anew before each
step, batches are numbered, learning rates and temperatures are computed from the step. So weights, optimiser state and
the step are all that a checkpoint needs, and a resumed run on the CPU is equal to an uninterrupted one, bit for bit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from trunkline.recipe import Phase
from trunkline.spinning import spin_only_when_quiet
from trunkline.train.data.batches import Batch
from trunkline.train.loop.batch_feed import Lookahead, SplitData
from trunkline.train.loop.checkpointer import Keeper
from trunkline.train.loop.device import Compute
from trunkline.train.loop.evaluate import Metrics, evaluate
from trunkline.train.loop.interrupt import Interrupted, Interruption
from trunkline.train.loop.optimisers import NamedOptimiser
from trunkline.train.loop.phase_check import check_fit
from trunkline.train.loop.phase_state import Best, Standing
from trunkline.train.loop.step import Stepper
from trunkline.train.loop.trainable import Trainable, parameter_group
from trunkline.train.progress.progress import Progress, Silence
from trunkline.train.progress.step_report import Rate, StepReport
from trunkline.train.run_folder.run_folder import RunFolder
from trunkline.train.tasks.base import Task


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a phase came to.

    Attributes:
        phase: Name.
        steps: Steps completed.
        metrics: Of the last evaluation, by task and metric; empty where there was none.
        checkpoint: The state at the end, which the model is left in.
        best: By task, the best checkpoint of its component; empty where the phase does not say what is best.
        resumed_from: Steps that earlier sessions had completed.
    """

    phase: str
    steps: int
    metrics: Metrics
    checkpoint: Path
    best: Mapping[str, Path]
    resumed_from: int


class Runner:
    """Trains a model for one phase.

    Args:
        model: Changed in place; its weights are the phase's start, unless there is a checkpoint of the phase.
        tasks: What is trained and judged; in this order where a phase steps task by task.
        data: The splits that the phase names.
        phase: What to do.
        folder: Where checkpoints and metrics go.
        seed: With the phase's name and the step, decides everything random.
        compute: Device and precision.
        progress: Told of every step.

    Raises:
        InvalidConfig: The phase does not fit the model, the data or the tasks; everything that does not, at once.
        WorkFailed: The device is not there.
    """

    def __init__(
        self,
        model: Trainable,
        tasks: Sequence[Task],
        data: SplitData,
        phase: Phase,
        folder: RunFolder,
        *,
        seed: int = 0,
        compute: Compute | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.model, self.tasks, self.data, self.phase, self.folder = model, tuple(tasks), data, phase, folder
        self.seed = seed
        self.compute = compute or Compute()
        self.progress = progress or Silence()
        self._device = self.compute.resolve()
        self._judge = check_fit(model, self.tasks, data, phase)
        self._stepper = Stepper(model, self.tasks, self.compute, phase.joint, phase.clip_norm)
        self._rate = Rate()

    @spin_only_when_quiet()
    def run(self) -> Outcome:
        """Train to the end of the phase.

        Raises:
            WorkFailed: A number is not finite, or the disk is full; the last checkpoint is good.
            Interrupted: Ctrl-C or SIGTERM; a checkpoint of the last completed step was saved.
            CorruptCheckpoint: There are checkpoints of this phase, but none can be read.
            InvalidConfig: The last checkpoint is of a run with other settings.
        """
        self._interruption = Interruption()
        self.model.to(self._device)
        self._groups, self._components = self.model.parameter_groups(), self.model.components()
        self._optimisers = self._make_optimisers()
        self._keeper = Keeper(self.model, self._optimisers, self.phase, self.seed, self.folder)
        with self._interruption, self.progress, _left_as_found(self._groups):
            return self._run()

    def _run(self) -> Outcome:
        standing = self._keeper.resume()
        resumed_from = standing.step
        self.model.train(True)
        if standing.step and self._evaluation_due(standing):  # an interruption left it out
            standing = self._evaluate(standing)
            self._save(standing)
        with Lookahead(self.data, self._wanted(standing.step)) as batches:
            for batch in batches:
                standing = self._after_step(self._train(standing, batch))
        return self._outcome(standing, resumed_from)

    def _after_step(self, standing: Standing) -> Standing:
        """Evaluate and save where that is due."""
        best_before = standing.best
        if self._evaluation_due(standing):
            standing = self._evaluate(standing)
        finished = standing.step == self.phase.steps
        due = finished or standing.step % self.phase.checkpoint_every == 0 or standing.best != best_before
        if due or self._interruption.signal_number is not None:
            self._save(standing)
        return standing

    def _train(self, standing: Standing, batch: Batch) -> Standing:
        step, phase = standing.step, self.phase
        turn, lr = phase.turn_at(step), phase.lr(step)
        self._let_learn(turn.group)
        torch.manual_seed(_step_seed(self.seed, phase.name, step))
        scalars = self.model.begin_step(step, mode=phase.mode)
        place = f'phase "{phase.name}", turn "{turn.name}", step {step + 1}'
        moved = batch.to(self._device)
        values = self._stepper.step(turn, moved, self._optimisers[turn.name], lr=lr, place=place)
        self._rate.add(len(batch))
        report = StepReport(
            phase.name, turn.name, step + 1, phase.steps, values.losses, values.terms, lr, self._rate.per_s, scalars
        )
        self.progress.step(report)
        if report.step % phase.log_every == 0 or report.step == phase.steps:
            self.folder.log.append(report.record())
        return replace(standing, step=step + 1)

    def _let_learn(self, group: str) -> None:
        """Let gradients flow to one group only: the others are constants of this step."""
        for name, parameters in self._groups.items():
            for parameter in parameters.values():
                parameter.requires_grad_(name == group)

    def _evaluation_due(self, standing: Standing) -> bool:
        if self.phase.eval_split is None or standing.evaluated == standing.step:
            return False
        every = self.phase.eval_every
        return standing.step == self.phase.steps or (every is not None and standing.step % every == 0)

    def _evaluate(self, standing: Standing) -> Standing:
        """Return the standing with a new evaluation, or as it was if that was interrupted."""
        assert self.phase.eval_split is not None
        self.model.begin_step(standing.step, mode=self.phase.eval_mode)
        batches = self.data.evaluation(self.phase.eval_split)
        metrics = evaluate(self.model, self.tasks, self._until_interrupted(batches), self.compute)
        self._rate.restart()
        if self._interruption.signal_number is not None:
            return standing
        self.progress.evaluation(self.phase.name, standing.step, metrics)
        record = {"kind": "evaluation", "phase": self.phase.name, "step": standing.step}
        self.folder.log.append({**record, "split": self.phase.eval_split, "metrics": metrics})
        return self._compared(replace(standing, evaluated=standing.step, metrics=metrics))

    def _compared(self, standing: Standing) -> Standing:
        if self._judge is None:
            return standing
        best = dict(standing.best)
        for component in self._components:
            score = self._judge.score(standing.metrics, component.tasks)
            before = best.get(component.name)
            if math.isfinite(score) and (before is None or score > before.score):
                best[component.name] = Best(standing.step, score)
        return replace(standing, best=best)

    def _until_interrupted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self._interruption.signal_number is not None:
                return
            yield batch

    def _save(self, standing: Standing) -> None:
        """Write a checkpoint, and end the run if that was asked for."""
        path = self._keeper.save(standing)
        self._rate.restart()
        if self._interruption.signal_number is not None:
            raise Interrupted(self._interruption.signal_number, path)

    def _make_optimisers(self) -> dict[str, NamedOptimiser]:
        turns = self.phase.turns
        return {
            turn.name: NamedOptimiser(turn.optimiser, parameter_group(self.model, turn.group), self._components)
            for turn in turns
        }

    def _wanted(self, start: int) -> Iterator[tuple[str, int]]:
        for step in range(start, self.phase.steps):
            yield self.phase.turn_at(step).split, self.phase.position(step)

    def _outcome(self, standing: Standing, resumed_from: int) -> Outcome:
        shelf, name = self.folder.shelf, self.phase.name
        best = {
            task: shelf.path(name, standing.best[component.name].step)
            for component in self._components
            for task in component.tasks
            if component.name in standing.best
        }
        return Outcome(name, standing.step, standing.metrics, shelf.path(name, standing.step), best, resumed_from)


@contextmanager
def _left_as_found(groups: Mapping[str, Mapping[str, nn.Parameter]]) -> Iterator[None]:
    """Put back which parameters learn, and drop all gradients, when the run ends."""
    parameters = [parameter for group in groups.values() for parameter in group.values()]
    learning = [parameter.requires_grad for parameter in parameters]
    try:
        yield
    finally:
        for parameter, flag in zip(parameters, learning, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None


def _step_seed(seed: int, phase: str, step: int) -> int:
    """Return 63 bits that are a pure function of the three, on every platform."""
    digest = hashlib.sha256(f"{seed}/{phase}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
