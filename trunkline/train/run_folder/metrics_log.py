"""``metrics.jsonl``: one JSON object a line, one line a logged step or evaluation.

Records have ``kind`` ("step", "evaluation" or "policy"), ``phase`` and ``step`` (steps completed). Steps further hold
``turn``, ``losses`` (of that step's batch, by task), ``terms``, ``lr``, ``images_per_s`` and what the model reports,
such as ``temperature``; evaluations hold ``split`` and ``metrics``; policies hold ``probabilities``, of the options of
every open choice, by group and choice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trunkline.files.write import atomic_write, json_bytes, write_error


class MetricsLog:
    """Appends records to a file.

    Args:
        path: Created with the first record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line; raises WorkFailed if it cannot be written."""
        data = json_bytes(record)
        try:
            with self.path.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise write_error(error, self.path, len(data)) from error

    def sync(self) -> None:
        """Wait until the disk has every record; raises WorkFailed if it does not take them."""
        # Not after every record: fsync may take longer than a step, and checkpoints are what a resume needs.
        if not self.path.exists():
            return
        try:
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(error, self.path, 0) from error

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records; a last line that a crash tore is left out."""
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines(keepends=True):
            record = _parse(line)
            if record is not None:
                yield record

    def truncate(self, phase: str, step: int, evaluated: int) -> None:
        """Drop this phase's records that will be made again, and torn lines.

        Args:
            phase: Name; records of other phases stay.
            step: Steps completed at the checkpoint the run goes on from.
            evaluated: Step of the last evaluation that the checkpoint knows of.
        """
        if not self.path.exists():
            return
        # An evaluation comes after its step, and an interruption between them saves the step without it.
        limits = {"step": step, "evaluation": evaluated}
        kept = []
        for record in self.records():
            limit = limits.get(str(record.get("kind")), step)
            if record.get("phase") != phase or record.get("step", 0) <= limit:
                kept.append(json_bytes(record))
        atomic_write(self.path, b"".join(kept))


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):  # the break is written last, so this line was torn
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
