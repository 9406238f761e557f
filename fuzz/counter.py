"""Numbers that survive the death of the process that counts: a worker writes them, its parent reads them."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_FORM = struct.Struct("<QQQ")


@dataclass
class Count:
    """How far a worker has come.

    Attributes:
        runs: Inputs that are done.
        accepted: Those the reader accepted.
        index: The input in work.
    """

    runs: int = 0
    accepted: int = 0
    index: int = 0


class Counter:
    """A count in a small file that is mapped, so that writing it costs next to nothing."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_FORM.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FORM.size)

    def write(self, count: Count) -> None:
        """Store ``count``."""
        _FORM.pack_into(self._map, 0, count.runs, count.accepted, count.index)

    def read(self) -> Count:
        """Return what was stored last."""
        return Count(*_FORM.unpack_from(self._map, 0))
