"""Saves a phase as a checkpoint in the run folder, and resumes it from the newest good one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Size, Tensor

from trunkline.errors import InvalidConfig, Problem
from trunkline.recipe import Phase
from trunkline.text import quoted, shape_text
from trunkline.train.loop.non_finite import require_finite_state
from trunkline.train.loop.optimisers import TurnOptimiser, merge_states, state_of
from trunkline.train.loop.phase_state import PhaseState, require_same_run
from trunkline.train.loop.trainable import Trainable
from trunkline.train.run_folder.checkpoint_file import Checkpoint
from trunkline.train.run_folder.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Checkpointer:
    """Saves and resumes one phase of one run.

    Attributes:
        model: Read by :meth:`save`, set by :meth:`resume`.
        optimisers: By turn; read by :meth:`save`, set by :meth:`resume`.
        phase: The phase; its name and settings go into every checkpoint.
        seed: The run's seed; a checkpoint of another one is refused.
        folder: The run folder, which holds the checkpoints and the log.
    """

    model: Trainable
    optimisers: Mapping[str, TurnOptimiser]
    phase: Phase
    seed: int
    folder: RunFolder

    def save(self, state: PhaseState) -> Path:
        """Write a checkpoint and return its folder.

        Raises:
            WorkFailed: The state holds a number that is not finite, or the disk is full; nothing old is lost.
        """
        model = self.model.state_dict()
        optimisers = merge_states({turn: optimiser.state() for turn, optimiser in self.optimisers.items()})
        place = f'phase "{self.phase.name}", step {state.step}'
        # With a NaN in it, the newest checkpoint would be one that no run can use, and older ones would be pruned.
        require_finite_state(model, place)
        require_finite_state(optimisers, place)
        # The log goes first: a checkpoint must not count an evaluation whose record a crash can still lose.
        self.folder.log.sync()
        checkpoint = Checkpoint(model, optimisers, state.to_state(self.phase, self.seed))
        # The best step of every component stays, however old: its weights are what the training will end with.
        best = {best.step for best in state.best.values()}
        return self.folder.checkpoints.save(self.phase.name, state.step, checkpoint, keep=self.phase.keep, best=best)

    def resume(self) -> PhaseState:
        """Set model and optimisers to the newest good checkpoint, if there is one; return how far the phase has come.

        Log records of later steps are dropped, as these will be made again.

        Raises:
            CorruptCheckpoint: There are checkpoints, but none is good.
            InvalidConfig: It is of a run with other settings, or of another model.
        """
        path = self.folder.checkpoints.latest(self.phase.name)
        state = PhaseState() if path is None else self._load(path)
        self.folder.log.truncate(self.phase.name, state.step, state.evaluated)
        return state

    def _load(self, path: Path) -> PhaseState:
        checkpoint = self.folder.checkpoints.load(path)
        require_same_run(checkpoint.state, self.phase, self.seed, str(path), needs_total=self._needs_total())
        load_model(self.model, checkpoint.model, str(path))
        for turn, optimiser in self.optimisers.items():
            optimiser.load(state_of(checkpoint.optimisers, turn))
        return PhaseState.from_state(checkpoint.state)

    def _needs_total(self) -> bool:
        """Return whether a learning rate, or anything that the model does, depends on how many steps there will be."""
        phase = self.phase
        # Evaluations count: they decide which checkpoint is the best.
        return phase.needs_total or any(self.model.needs_total(mode) for mode in phase.modes)


def load_model(model: Trainable, weights: Mapping[str, Tensor], place: str) -> None:
    """Set a model to a checkpoint's weights; names and shapes must agree exactly.

    Args:
        model: Changed in place.
        weights: ``Checkpoint.model``.
        place: The checkpoint's path, for the message.

    Raises:
        InvalidConfig: It is another model's checkpoint; the model is as it was.
    """
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    found = {name: tensor.shape for name, tensor in weights.items()}
    # All at once, before anything is set: torch's own check would leave the model half loaded.
    problems = []
    for name in sorted({*own, *found}):
        if own.get(name) != found.get(name):
            message = (
                f"{quoted(name)} is {_shape_in(found, name)} in the checkpoint, {_shape_in(own, name)} in the model"
            )
            problems.append(Problem(message, place, "use the model that the run began with, or another run folder"))
    if problems:
        raise InvalidConfig(problems)
    model.load_state_dict(weights)


def _shape_in(shapes: Mapping[str, Size], name: str) -> str:
    return f"of shape {shape_text(shapes[name])}" if name in shapes else "absent"
