"""The best step of each component: compared at evaluations, and found again where its checkpoint was lost."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trunkline.errors import CorruptCheckpoint
from trunkline.train.loop.evaluate import BestMetric
from trunkline.train.loop.phase_state import Best, PhaseState
from trunkline.train.run_folder.checkpoint_file import check_checkpoint, read_checkpoint
from trunkline.train.run_folder.checkpoint_store import CheckpointStore
from trunkline.twins.components import Component


@dataclass(frozen=True, slots=True)
class BestSteps:
    """Compares the evaluations of a phase, component by component.

    Attributes:
        metric: What is compared; None where the phase asks for no best checkpoint.
        components: Of the model.
        checkpoints: Of the run.
        phase: Name of the phase.
    """

    metric: BestMetric | None
    components: Sequence[Component]
    checkpoints: CheckpointStore
    phase: str

    def compared(self, state: PhaseState) -> PhaseState:
        """Return the state with its last evaluation compared to the best ones so far."""
        if self.metric is None:
            return state
        best = dict(state.best)
        for component in self.components:
            score = self.metric.score(state.metrics, component.tasks)
            before = best.get(component.name)
            # 1. A score that is no number wins nothing. 2. Of equal scores the earliest stays.
            if math.isfinite(score) and (before is None or score > before.score):
                best[component.name] = Best(state.step, score)
        return replace(state, best=best)

    def recovered(self, state: PhaseState) -> PhaseState:
        """Return a resumed state whose best checkpoints are all there: in place of a lost one the best that is left.

        Behind a corrupt checkpoint a run goes on from an older one. What that calls the best may be gone: the corrupt
        one was better, and its save removed what it had beaten.
        """
        lost = self._lost(state)
        if not lost:
            return state
        best = {name: best for name, best in state.best.items() if name not in lost}
        for evaluated in self._evaluated(state.step):
            best = dict(self.compared(replace(evaluated, best=best)).best)
        return replace(state, best=best)

    def paths(self, state: PhaseState) -> dict[str, Path]:
        """Return the best checkpoint of each task's component, where there is one."""
        found: dict[str, Path] = {}
        for component in self.components:
            if component.name in state.best:
                found |= dict.fromkeys(component.tasks, self._path(state.best[component.name].step))
        return found

    def _lost(self, state: PhaseState) -> set[str]:
        """Return the components whose best checkpoint is missing or corrupt, with a warning for each checkpoint."""
        lost: set[int] = set()
        for step in sorted({best.step for best in state.best.values()}):
            try:
                check_checkpoint(self._path(step))
            except CorruptCheckpoint as error:
                lost.add(step)
                text = f"a best checkpoint is lost, and the best of those left takes its place: {error}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
        return {name for name, best in state.best.items() if best.step in lost}

    def _evaluated(self, until: int) -> Iterator[PhaseState]:
        """Yield the states of good checkpoints that hold an evaluation of their own weights, oldest first."""
        for path in reversed(self.checkpoints.paths(self.phase)):
            try:
                state = PhaseState.from_state(read_checkpoint(path).state)
            except CorruptCheckpoint:
                continue
            if path == self._path(state.step) and state.evaluated == state.step <= until:
                yield state

    def _path(self, step: int) -> Path:
        return self.checkpoints.path(self.phase, step)
