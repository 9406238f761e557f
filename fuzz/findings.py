"""Findings on disk: the input, and beside it what happened; equal ones once."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass
from pathlib import Path

from fuzz.target import fingerprint


@dataclass(frozen=True, slots=True)
class Findings:
    """A folder of findings of one target."""

    folder: Path

    def crash(self, data: bytes, error: BaseException) -> None:
        """Keep an input that ended in ``error``."""
        self.add(data, fingerprint(error), "".join(traceback.format_exception(error)))

    def add(self, data: bytes, what: str, text: str = "") -> None:
        """Keep an input under the hash of ``what`` happened."""
        self.folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(what.encode()).hexdigest()[:12]
        if not (self.folder / f"{name}.txt").exists():
            (self.folder / name).write_bytes(data)
            (self.folder / f"{name}.txt").write_text(f"{what}\n\n{text}", encoding="utf-8")

    def list(self) -> list[str]:
        """Return one line for each finding."""
        texts = sorted(self.folder.glob("*.txt")) if self.folder.is_dir() else []
        return [f"{path.stem}: {path.read_text(encoding='utf-8').partition(chr(10))[0]}" for path in texts]
