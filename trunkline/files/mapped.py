"""Map a file into memory: the system reads the pages that are looked at, and may drop them again."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from trunkline.errors import InvalidModel
from trunkline.files.read import read_bytes


def map_file(path: Path, limit_bytes: int) -> memoryview:
    """Return the content of a plain file without reading it.

    Raises:
        InvalidModel: It is missing, empty, no plain file, unreadable, or larger than ``limit_bytes``.
    """
    if not read_bytes(path, limit_bytes=limit_bytes, head_bytes=1):
        raise InvalidModel("the file is empty", place=str(path), advice="copy it again")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(handle)
        # What was checked may have been replaced since.
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= limit_bytes:
            raise InvalidModel("changed while it was opened", place=str(path), advice="try again")
        return memoryview(mmap.mmap(handle, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(handle)
