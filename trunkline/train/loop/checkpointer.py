"""Saves where a run stands and takes it up again: between the runner's objects and a run folder's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from trunkline.errors import InvalidConfig, Problem
from trunkline.recipe import Phase
from trunkline.train.loop.non_finite import require_finite_state
from trunkline.train.loop.optimisers import TurnOptimiser
from trunkline.train.loop.phase_state import PhaseState, require_same_run
from trunkline.train.loop.trainable import Trainable
from trunkline.train.run_folder.checkpoint_file import Checkpoint
from trunkline.train.run_folder.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Checkpointer:
    """Keeps one phase of one run.

    Attributes:
        model: Read by :meth:`save`, set by :meth:`resume`.
        optimisers: Read by :meth:`save`, set by :meth:`resume`; by turn.
        phase: Whose checkpoints these are.
        seed: Of the run.
        folder: Of the run.
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
        optimisers = {
            f"{turn}/{key}": value
            for turn, optimiser in self.optimisers.items()
            for key, value in optimiser.state().items()
        }
        place = f'phase "{self.phase.name}", step {state.step}'
        require_finite_state(model, place)
        require_finite_state(optimisers, place)
        self.folder.log.sync()
        checkpoint = Checkpoint(model, optimisers, state.to_state(self.phase, self.seed))
        best = {best.step for best in state.best.values()}
        return self.folder.checkpoints.save(self.phase.name, state.step, checkpoint, keep=self.phase.keep, best=best)

    def resume(self) -> PhaseState:
        """Set model and optimisers to the newest good checkpoint, if there is one, and return where the phase stands.

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
        require_same_run(checkpoint.state, self.phase, self.seed, str(path))
        load_model(self.model, checkpoint.model, str(path))
        for turn, optimiser in self.optimisers.items():
            prefix = f"{turn}/"
            own = {key.removeprefix(prefix): v for key, v in checkpoint.optimisers.items() if key.startswith(prefix)}
            optimiser.load(own)
        return PhaseState.from_state(checkpoint.state)


def load_model(model: Trainable, weights: Mapping[str, Tensor], place: str) -> None:
    """Set a model to a checkpoint's weights; names and shapes must agree exactly.

    Args:
        model: Changed in place.
        weights: ``Checkpoint.model``.
        place: Of the checkpoint, for the message.

    Raises:
        InvalidConfig: It is another model's checkpoint; the model is as it was.
    """
    own = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in weights.items()}
    differing = [name for name in sorted({*own, *found}) if own.get(name) != found.get(name)]
    if differing:
        advice = "use the model that the run began with, or another run folder"
        raise InvalidConfig(
            [
                Problem(
                    f'"{name}" is {_shape(found, name)} in the checkpoint, {_shape(own, name)} in the model',
                    place,
                    advice,
                )
                for name in differing
            ]
        )
    model.load_state_dict(weights)


def _shape(shapes: Mapping[str, list[int]], name: str) -> str:
    return f"of shape {shapes[name]}" if name in shapes else "absent"
