"""The checkpoints of a run: save one, find the newest good one, and remove those that are no longer needed."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Collection
from pathlib import Path

from trunkline.errors import CorruptCheckpoint, Problem
from trunkline.train.run_folder.checkpoint_file import (
    REPLACED,
    Checkpoint,
    check_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

_NAME = re.compile(rf"(?P<phase>.+)-(?P<step>\d{{8}})(?:{re.escape(REPLACED)})?")


class CheckpointStore:
    """Folders ``PHASE-STEP`` in one folder; the step has eight digits.

    Only one process may write: temporary folders of others are taken for left-overs of a crash.

    Args:
        folder: Made with the first checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, phase: str, step: int) -> Path:
        """Return where the checkpoint after ``step`` completed steps of ``phase`` is, or would be."""
        return self.folder / f"{phase}-{step:08d}"

    def save(self, phase: str, step: int, checkpoint: Checkpoint, *, keep: int, best: Collection[int] = ()) -> Path:
        """Write a checkpoint, then remove older ones of its phase.

        Of those up to ``step``, the ``keep`` newest stay, and those of ``best`` steps.

        Raises:
            WorkFailed: It cannot be written; the older ones are intact.
        """
        path = self.path(phase, step)
        write_checkpoint(path, checkpoint)
        self._prune(phase, step, keep, best)
        return path

    def load(self, path: Path) -> Checkpoint:
        """Read one checkpoint.

        Raises:
            CorruptCheckpoint: It is not what was written; the message names the file and the newest good older one.
        """
        try:
            return read_checkpoint(path)
        except CorruptCheckpoint as error:
            raise CorruptCheckpoint([*error.problems, self._advice(path)]) from error

    def latest(self, phase: str) -> Path | None:
        """Return the newest good checkpoint of a phase, None if it has no checkpoint yet.

        Corrupt ones are skipped, each with a warning.

        Raises:
            CorruptCheckpoint: There are checkpoints, but none is good.
        """
        problems: list[Problem] = []
        for path in self.paths(phase):
            try:
                check_checkpoint(path)
            except CorruptCheckpoint as error:
                problems.extend(error.problems)
                warnings.warn(f"skipped a corrupt checkpoint: {error}", RuntimeWarning, stacklevel=2)
                continue
            return path
        if problems:
            advice = "remove the folder to start the phase again"
            raise CorruptCheckpoint([*problems, Problem("no checkpoint is good", str(self.folder), advice)])
        return None

    def paths(self, phase: str) -> list[Path]:
        """Return the checkpoints of a phase, newest first; good or not."""
        return [path for _, path in self._numbered(phase)]

    def _numbered(self, phase: str) -> list[tuple[int, Path]]:
        """Return step and path of the checkpoints of a phase, newest first."""
        if not self.folder.is_dir():
            return []
        found = []
        for path in self.folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and match["phase"] == phase:
                found.append((int(match["step"]), path))
        # Of one step, NAME comes before NAME.old: only a crash leaves the one that was being replaced.
        return sorted(found, key=lambda item: (-item[0], item[1].name))

    def _advice(self, path: Path) -> Problem:
        match = _NAME.fullmatch(path.name)
        others = [other for other in self.paths(match["phase"]) if other != path] if match else []
        good = next((other for other in others if _is_good(other)), None)
        if good is None:
            return Problem("no other checkpoint of this phase is good", str(path.parent), "start the phase again")
        return Problem("this checkpoint is good", str(good), f"remove {path} to go on from it")

    def _prune(self, phase: str, saved: int, keep: int, best: Collection[int]) -> None:
        # Later ones could not be read, or the run would have gone on from them: they take the place of no good one.
        so_far = [path for step, path in self._numbered(phase) if step <= saved]
        best_paths = {self.path(phase, step) for step in best}
        for path in so_far[keep:]:
            if path not in best_paths:
                shutil.rmtree(path, ignore_errors=True)
        # A killed process could not remove its own; the lock of the run folder keeps others from writing here.
        for left_over in self.folder.glob(".*.tmp"):
            shutil.rmtree(left_over, ignore_errors=True)


def _is_good(path: Path) -> bool:
    try:
        check_checkpoint(path)
    except CorruptCheckpoint:
        return False
    return True
