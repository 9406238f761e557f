"""The training loop: one phase, from its start or its last checkpoint to its end.

Everything random in a step is a pure function of (seed, phase, step): torch's generators are seeded before each
step, batches are numbered, learning rates and temperatures are computed from the step. So weights, optimiser state and
the step are all that a checkpoint needs, and a resumed run on the CPU is equal to an uninterrupted one, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from trunkline.recipe import Part, Phase
from trunkline.spinning import spin_only_when_quiet
from trunkline.train.data.batches import Batch
from trunkline.train.loop.batch_feed import PrefetchedBatches, SplitData
from trunkline.train.loop.best_steps import BestSteps
from trunkline.train.loop.checkpointer import Checkpointer
from trunkline.train.loop.device import Compute
from trunkline.train.loop.evaluate import Metrics, evaluate
from trunkline.train.loop.interrupt import Interrupted, Interruption
from trunkline.train.loop.optimisers import TurnOptimiser
from trunkline.train.loop.phase_check import check_phase
from trunkline.train.loop.phase_state import PhaseState
from trunkline.train.loop.step import Stepper
from trunkline.train.loop.trainable import Trainable
from trunkline.train.progress.progress import Progress, Silence
from trunkline.train.progress.step_report import StepReport, Throughput
from trunkline.train.run_folder.run_folder import RunFolder
from trunkline.train.tasks.base import Task

POLICY_RECORDS = 32
"""About how often a phase writes the policy down: enough to see it settle, too few to make a log large."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a phase.

    Attributes:
        phase: Name of the phase.
        steps: Steps completed.
        metrics: The last evaluation, by task and metric; empty where there was none.
        checkpoint: The state at the end, which the model is left in.
        best: By task, the best checkpoint of its component; empty where the phase has no ``best_by``.
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
        tasks: The tasks that are trained and evaluated; in this order where a phase steps task by task.
        data: The samples that the phase reads.
        phase: Steps, turns, learning rates and evaluations.
        folder: Where checkpoints and metrics go.
        seed: With the phase's name and the step, decides everything random.
        compute: Device and precision.
        progress: Receives a report of every step and evaluation.

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
        self.model, self.tasks, self.phase, self.folder = model, tuple(tasks), phase, folder
        self.data = data.at(phase.resolution)
        self.seed = seed
        self.compute = compute or Compute()
        self.progress = progress or Silence()
        self._device = self.compute.resolve()
        self._best_metric = check_phase(model, self.tasks, self.data, phase)
        self._stepper = Stepper(model, self.tasks, self.compute, phase.clip_norm, phase.loss_weights)
        self._throughput = Throughput()

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
        # Optimisers come after the move: `to` may put other tensors in the place of those they would hold.
        self.model.to(self._device)
        self._groups, components = self.model.groups(), self.model.components()
        self._optimisers = {turn.name: TurnOptimiser(turn, self.model, components) for turn in self.phase.turns}
        self._checkpointer = Checkpointer(self.model, self._optimisers, self.phase, self.seed, self.folder)
        checkpoints = self.folder.checkpoints
        self._best_steps = BestSteps(self._best_metric, components, checkpoints, self.phase.name)
        with self._interruption, self.progress, _left_as_found(self._groups):
            return self._run()

    def _run(self) -> Outcome:
        state = self._best_steps.recovered(self._checkpointer.resume())
        resumed_from = state.step
        # At the start only: a resumed phase goes on with the statistics of its checkpoint.
        if self.phase.reset_statistics and not state.step:
            self.model.reset_statistics()
        self.model.train(True)
        if state.step and self._evaluation_due(state):  # an interruption left it out
            state = self._evaluate(state)
            self._save(state)
        # Runners of several phases are made together: what comes before this one's first step is no time of its steps.
        self._throughput.restart()
        with PrefetchedBatches(self.data, self._wanted(state.step)) as batches:
            for batch in batches:
                state = self._after_step(self._train(state, batch))
        # A phase that was finished before makes no step, at whose end a signal would be looked at.
        self._end_if_asked(self.folder.checkpoints.path(self.phase.name, state.step))
        return self._outcome(state, resumed_from)

    def _after_step(self, state: PhaseState) -> PhaseState:
        """Evaluate and save where that is due."""
        best_before = state.best
        if self._evaluation_due(state):
            state = self._evaluate(state)
        finished = state.step == self.phase.steps
        due = finished or state.step % self.phase.checkpoint_every == 0 or state.best != best_before
        if due or self._interruption.signal_number is not None:
            self._save(state)
        return state

    def _train(self, state: PhaseState, batch: Batch) -> PhaseState:
        step, phase = state.step, self.phase
        turn, moment, rates = phase.turn_at(step), phase.moment(step), phase.rates(step)
        optimiser = self._optimisers[turn.name]
        self._let_learn(optimiser)
        # BMTAS drops momentum and moments whenever it changes between weights and architecture.
        if turn.fresh and moment.within == 0:
            optimiser.forget()
        torch.manual_seed(_step_seed(self.seed, phase.name, step))
        scalars = self.model.at(moment)
        place = f'phase "{phase.name}", turn "{turn.name}", step {step + 1}'
        values = self._stepper.step(turn, batch.to(self._device), optimiser, rates=rates, place=place)
        self._throughput.add(len(batch))
        speed = self._throughput.images_per_s
        report = StepReport(
            phase.name, turn.name, step + 1, phase.steps, values.losses, values.terms, rates, speed, scalars
        )
        self.progress.step(report)
        if report.step % phase.log_every == 0 or report.step == phase.steps:
            self.folder.log.append(report.record())
        self._log_policy(report.step)
        return replace(state, step=step + 1)

    def _log_policy(self, step: int) -> None:
        """Write down how probable options are by now, some times in a phase: how a search settled is read from it."""
        phase = self.phase
        if step % max(1, phase.steps // POLICY_RECORDS) and step != phase.steps:
            return
        if probabilities := self.model.option_probabilities():
            record = {"kind": "policy", "phase": phase.name, "step": step, "probabilities": probabilities}
            self.folder.log.append(record)

    def _let_learn(self, optimiser: TurnOptimiser) -> None:
        """Make all but the parameters that a turn moves constant in this step: autograd then skips their gradients."""
        for parameters in self._groups.values():
            for name, parameter in parameters.items():
                parameter.requires_grad_(name in optimiser.parameters)

    def _evaluation_due(self, state: PhaseState) -> bool:
        if self.phase.eval_split is None or state.evaluated == state.step:
            return False
        every = self.phase.eval_every
        return state.step == self.phase.steps or (every is not None and state.step % every == 0)

    def _evaluate(self, state: PhaseState) -> PhaseState:
        """Return the state with a new evaluation, or as it was if that was interrupted."""
        assert self.phase.eval_split is not None
        self.model.at(self.phase.evaluation(state.step))
        batches = self.data.evaluation(self.phase.eval_split)
        metrics = evaluate(self.model, self.tasks, self._until_interrupted(batches), self.compute)
        self._throughput.restart()
        # Metrics over some of the samples could win against those over all of them.
        if self._interruption.signal_number is not None:
            return state
        self.progress.evaluation(self.phase.name, state.step, metrics)
        record = {"kind": "evaluation", "phase": self.phase.name, "step": state.step}
        self.folder.log.append({**record, "split": self.phase.eval_split, "metrics": metrics})
        return self._best_steps.compared(replace(state, evaluated=state.step, metrics=metrics))

    def _until_interrupted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self._interruption.signal_number is not None:
                return
            yield batch

    def _save(self, state: PhaseState) -> None:
        """Write a checkpoint, and end the run if it was interrupted."""
        path = self._checkpointer.save(state)
        self._throughput.restart()
        self._end_if_asked(path)

    def _end_if_asked(self, checkpoint: Path) -> None:
        if self._interruption.signal_number is not None:
            raise Interrupted(self._interruption.signal_number, checkpoint)

    def _wanted(self, start: int) -> Iterator[tuple[Part, int]]:
        for step in range(start, self.phase.steps):
            yield self.phase.turn_at(step).data, self.phase.position(step)

    def _outcome(self, state: PhaseState, resumed_from: int) -> Outcome:
        checkpoint = self.folder.checkpoints.path(self.phase.name, state.step)
        best = self._best_steps.paths(state)
        return Outcome(self.phase.name, state.step, state.metrics, checkpoint, best, resumed_from)


@contextmanager
def _left_as_found(groups: Mapping[str, Mapping[str, nn.Parameter]]) -> Iterator[None]:
    """Restore ``requires_grad`` of all parameters, and drop all gradients, when the run ends."""
    parameters: list[nn.Parameter] = []
    for group in groups.values():
        parameters += group.values()
    learning = [parameter.requires_grad for parameter in parameters]
    try:
        yield
    finally:
        for parameter, flag in zip(parameters, learning, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None


def _step_seed(seed: int, phase: str, step: int) -> int:
    """Return 63 bits that are a pure function of the three, on every platform."""
    # Not hash(): Python salts that of a text differently in every process.
    digest = hashlib.sha256(f"{seed}/{phase}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
