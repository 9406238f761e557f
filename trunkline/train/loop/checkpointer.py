"""Saves where a run stands and takes it up again: between the runner's objects and a run folder's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from trunkline.errors import InvalidConfig, Problem
from trunkline.recipe import Phase
from trunkline.train.loop.non_finite import require_finite_state
from trunkline.train.loop.optimisers import NamedOptimiser
from trunkline.train.loop.phase_state import Standing, require_same_run
from trunkline.train.loop.trainable import Trainable
from trunkline.train.run_folder.checkpoint_file import Checkpoint
from trunkline.train.run_folder.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps one phase of one run.

    Attributes:
        model: Read by :meth:`save`, set by :meth:`resume`.
        optimisers: Likewise, by turn.
        phase: Whose checkpoints these are.
        seed: Of the run.
        folder: Of the run.
    """

    model: Trainable
    optimisers: Mapping[str, NamedOptimiser]
    phase: Phase
    seed: int
    folder: RunFolder

    def save(self, standing: Standing) -> Path:
        """Write a checkpoint and return its folder.

        Raises:
            WorkFailed: The state holds a number that is not finite, or the disk is full; nothing old is lost.
        """
        model = self.model.state_dict()
        states = {turn: optimiser.state() for turn, optimiser in self.optimisers.items()}
        optimisers = {f"{turn}/{key}": value for turn, state in states.items() for key, value in state.items()}
        place = f'phase "{self.phase.name}", step {standing.step}'
        require_finite_state(model, place)
        require_finite_state(optimisers, place)
        self.folder.log.sync()
        checkpoint = Checkpoint(model, optimisers, standing.to_state(self.phase, self.seed))
        best = {best.step for best in standing.best.values()}
        return self.folder.shelf.save(self.phase.name, standing.step, checkpoint, keep=self.phase.keep, best=best)

    def resume(self) -> Standing:
        """Set model and optimisers to the newest good checkpoint, if there is one, and return where the phase stands.

        Log records of later steps are dropped, as these will be made again.

        Raises:
            CorruptCheckpoint: There are checkpoints, but none is good.
            InvalidConfig: It is of a run with other settings, or of another model.
        """
        path = self.folder.shelf.latest(self.phase.name)
        standing = Standing() if path is None else self._load(path)
        self.folder.log.truncate(self.phase.name, standing.step, standing.evaluated)
        return standing

    def _load(self, path: Path) -> Standing:
        checkpoint = self.folder.shelf.load(path)
        require_same_run(checkpoint.state, self.phase, self.seed, str(path))
        load_model(self.model, checkpoint.model, str(path))
        for turn, optimiser in self.optimisers.items():
            prefix = f"{turn}/"
            state = {key.removeprefix(prefix): v for key, v in checkpoint.optimisers.items() if key.startswith(prefix)}
            optimiser.load(state)
        return Standing.from_state(checkpoint.state)


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
