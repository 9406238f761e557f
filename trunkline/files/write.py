"""Writes that survive a crash: a file is either the old one or the new one, whole."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.errors import WorkFailed

# No space, no quota, or larger than the file system or a limit of the process allows.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def atomic_write(path: Path | str, data: bytes) -> None:
    """Replace ``path`` with ``data``: temporary name in the same folder, fsync, rename, fsync of the folder.

    Raises:
        WorkFailed: The file cannot be written; the old one, if any, is as it was and no temporary one is left.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_synced(temporary, data)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:  # an interrupt too must leave nothing temporary
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_error(error, path, len(data)) from error
        raise


def write_synced(path: Path, data: bytes) -> None:
    """Create ``path`` with ``data`` and wait until the disk has it; raises ``OSError``."""
    # A link that somebody left under this name is refused, not written through.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, flags, 0o644)
    try:
        left = memoryview(data)
        while left:  # the system may take only a part at a time
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in ``folder``: a rename is durable only after this."""
    if os.name == "nt":  # Windows cannot open a folder; its renames are journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_error(error: OSError, path: Path, needed_bytes: int) -> WorkFailed:
    """Return the error for a ``path`` that cannot be written, with the bytes it needs and what to do."""
    reason = error.strerror or str(error)
    advice = "check that the folder exists and that you may write to it"
    if error.errno in _FULL:
        advice = f"free at least {needed_bytes} bytes there and start again; what was saved before is intact"
    what = f"cannot write {needed_bytes} bytes" if needed_bytes else "cannot be written"
    return WorkFailed(f"{what}: {reason}", place=str(path), advice=advice)


def json_bytes(content: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    r"""Return UTF-8 JSON with a final line break; NaN and infinities become ``null``, as JSON has neither.

    >>> json_bytes({"loss": float("nan"), "step": 3})
    b'{"loss":null,"step":3}\n'
    """
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(json_ready(content), ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    return (text + "\n").encode()


def json_ready(value: Any) -> Any:
    """Return plain data that standard JSON can hold: a number that is not finite is ``None``, a path its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value
