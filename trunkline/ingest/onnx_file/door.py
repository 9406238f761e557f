"""Read the bytes of a file nobody has vouched for: regular, of bounded size, never waiting on a pipe."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from trunkline.errors import InvalidModel


def read_bytes(path: Path, *, limit_bytes: int, head_bytes: int | None = None) -> bytes:
    """Return the content of ``path``, or its first ``head_bytes``.

    Raises:
        InvalidModel: It is missing, a folder, a pipe or device, unreadable, or larger than ``limit_bytes``.
    """
    try:
        _check(path.stat(), path, limit_bytes)
        # A pipe may have taken the file's place since: without O_NONBLOCK, opening it would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            _check(status, path, limit_bytes)
            return file.read(status.st_size if head_bytes is None else head_bytes)
    except FileNotFoundError as error:
        raise InvalidModel("no such file", place=str(path), advice="check the path") from error
    except ValueError as error:
        raise InvalidModel(f"not a path: {error}", place=repr(str(path))) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidModel(f"cannot be read: {reason}", place=str(path), advice="check its permissions") from error


def _check(status: os.stat_result, path: Path, limit_bytes: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InvalidModel("is a folder, not a model file", place=str(path), advice="give the file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidModel("is a pipe or device, not a file", place=str(path), advice="save it as a file first")
    if status.st_size > limit_bytes:
        raise InvalidModel(
            f"holds {status.st_size:,} bytes; at most {limit_bytes:,} are read",
            place=str(path),
            advice="raise Limits.file_bytes if the file can be trusted",
        )
