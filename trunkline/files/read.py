"""Read a file that may be hostile: only a regular one, of bounded size, and never waiting on a pipe."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from trunkline.errors import InvalidConfig, InvalidModel, Problem
from trunkline.limits import DEFAULT_LIMITS, how_to_raise


def read_bytes(path: Path, *, limit_bytes: int, head_bytes: int | None = None, limit: str = "file_bytes") -> bytes:
    """Return the content of ``path``, or its first ``head_bytes``.

    Args:
        path: A regular file.
        limit_bytes: Greatest size that the file may have.
        head_bytes: Bytes to read from the start; all by default.
        limit: Name of the limit, for the advice how to raise it.

    Raises:
        InvalidModel: It is missing, a folder, a pipe or device, unreadable, or larger than ``limit_bytes``.
    """
    try:
        _check(path.stat(), path, limit_bytes, limit)
        # A pipe may have taken the file's place since: without O_NONBLOCK, opening it would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            _check(status, path, limit_bytes, limit)
            return file.read(status.st_size if head_bytes is None else head_bytes)
    except FileNotFoundError as error:
        raise InvalidModel("no such file", place=str(path), advice="check the path") from error
    except ValueError as error:  # a NUL in the name
        raise InvalidModel(f"not a path: {error}", place=repr(str(path))) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidModel(f"cannot be read: {reason}", place=str(path), advice="check its permissions") from error


def read_own(path: Path, what: str) -> bytes:
    """Return the content of a small file that the user wrote; ``what`` names it: a plan, a layout, a pipeline.

    Raises:
        InvalidConfig: As :func:`read_bytes`; it may be as large as a prototxt.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "plan.json"
    ...     _ = path.write_bytes(b"{}")
    ...     read_own(path, "plan")
    b'{}'
    """
    try:
        return read_bytes(path, limit_bytes=DEFAULT_LIMITS.text_bytes, limit="text_bytes")
    except InvalidModel as error:
        problems = [replace(item, message=f"cannot read the {what}: {item.message}") for item in error.problems]
        raise InvalidConfig(problems) from error


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Put the file's path before the place of every problem that is raised inside the block."""
    try:
        yield
    except (InvalidModel, InvalidConfig) as error:
        raise type(error)([_placed(problem, str(path)) for problem in error.problems]) from error


def _placed(problem: Problem, path: str) -> Problem:
    if problem.place.startswith(path):
        return problem
    return replace(problem, place=f"{path}: {problem.place}" if problem.place else path)


def _check(status: os.stat_result, path: Path, limit_bytes: int, limit: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InvalidModel("is a folder, not a file", place=str(path), advice="give the file inside it")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidModel("is a pipe or device, not a file", place=str(path), advice="save it as a file first")
    if status.st_size > limit_bytes:
        raise InvalidModel(
            f"holds {status.st_size:,} bytes; at most {limit_bytes:,} are read",
            place=str(path),
            advice=how_to_raise(limit, status.st_size),
        )
