"""Weights that lie in a file beside the model, and must lie there and nowhere else.

A model file names its data file freely, so it could name any file of the machine and have it read, or a pipe
and have us wait for ever. Every part of the way is therefore opened without following links, relative to the
folder before it, and what was opened is checked again: nothing can be swapped in between.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from trunkline.errors import InvalidModel
from trunkline.limits import Limits, how_to_raise
from trunkline.text import quoted

_KEYS = frozenset({"location", "offset", "length", "checksum"})


class ExternalDataFault(Exception):
    """Why a tensor's external data is not read, and what to do."""

    def __init__(self, message: str, advice: str = "save the model again, with its data beside it") -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes of one tensor in a data file.

    Attributes:
        parts: The path of the file below the model's folder, part by part.
        offset: Where its bytes start in the file.
        length: How many there are.
    """

    parts: tuple[str, ...]
    offset: int
    length: int

    @classmethod
    def of(cls, tensor: onnx.TensorProto, nbytes: int) -> ByteRange:
        """Return where the ``nbytes`` bytes of ``tensor`` are, by its ``external_data``.

        Raises:
            ExternalDataFault: The location leaves the folder, or offset or length are wrong.
        """
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if len(entries) != len(tensor.external_data):
            # Which of the two counts would depend on the reader.
            raise ExternalDataFault("a key of its external data is given twice")
        if unknown := sorted(entries.keys() - _KEYS):
            raise ExternalDataFault(
                f"unknown external data key {quoted(unknown[0])}; known are {', '.join(sorted(_KEYS))}"
            )
        length = _count(entries, "length", nbytes)
        if length != nbytes:
            raise ExternalDataFault(f"its external data has {length} bytes, its shape and type need {nbytes}")
        return cls(_parts(entries.get("location", "")), _count(entries, "offset", 0), length)


class ExternalData:
    """The data files of one model, each opened once and mapped, not read."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._maps: dict[tuple[str, ...], memoryview] = {}

    def array(self, window: ByteRange, shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return a read-only view of one tensor.

        Raises:
            ExternalDataFault: The file is missing, not a plain file of this folder, or too short.
        """
        content = self._content(window.parts)
        if window.offset + window.length > len(content):
            end = window.offset + window.length
            raise ExternalDataFault(f"its external data ends at byte {end}, the file has {len(content)}")
        part = content[window.offset : window.offset + window.length]
        # ONNX stores little-endian, whatever the machine.
        return np.frombuffer(part, dtype=dtype.newbyteorder("<")).reshape(tuple(shape))

    def _content(self, parts: tuple[str, ...]) -> memoryview:
        if parts not in self._maps:
            try:
                self._maps[parts] = _map(self._folder, parts, self._limits.file_bytes)
            except OSError as error:
                raise ExternalDataFault(
                    f"external data file {quoted('/'.join(parts))} cannot be read: {error.strerror}"
                ) from error
        return self._maps[parts]


def _count(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    # 18 digits fit into 64 bits. Beyond ASCII, isdigit() is also true of what int() refuses, such as "²".
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ExternalDataFault(f"external data {key} {quoted(text[:40])} is not a whole number of bytes")
    return int(text)


def _parts(location: str) -> tuple[str, ...]:
    """Split a location at its slashes, and refuse any that could lead out of the folder."""
    # On Windows a backslash separates folders, and a colon ends the name of a drive.
    if not location or "\0" in location or "\\" in location or ":" in location:
        raise ExternalDataFault(f"external data location {quoted(location)} is not the plain name of a file")
    if location.startswith("/"):
        raise ExternalDataFault(
            f"external data location {quoted(location)} is absolute; it must be in the model's folder"
        )
    parts = tuple(part for part in location.split("/") if part not in ("", "."))
    if not parts or ".." in parts or location.endswith(("/", "/.")):
        raise ExternalDataFault(f"external data location {quoted(location)} does not name a file in the model's folder")
    return parts


def _map(folder: Path, parts: tuple[str, ...], limit_bytes: int) -> memoryview:
    """Map the file at ``parts`` below ``folder``, opening each folder on the way relative to the one before."""
    if os.open not in os.supports_dir_fd:  # Windows
        raise ExternalDataFault("external data cannot be opened safely on this system", "save the model in one file")
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            _refuse_link(part, opened)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
            os.close(opened)
            opened = below
        return _map_file(parts[-1], opened, limit_bytes)
    finally:
        os.close(opened)


def _map_file(name: str, folder: int, limit_bytes: int) -> memoryview:
    _check(_refuse_link(name, folder), name, limit_bytes)
    # Without O_NONBLOCK, opening a pipe that was put there since would wait for a writer.
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        # The name may have come to mean another file between the first check and the opening.
        status = os.fstat(file)
        _check(status, name, limit_bytes)
        if not status.st_size:
            return memoryview(b"")  # an empty file cannot be mapped
        return memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(file)  # the mapping stays


def _refuse_link(name: str, folder: int) -> os.stat_result:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        raise ExternalDataFault(
            f"external data goes through the link {quoted(name)}", f"copy what it points to: cp -rL {name} COPY"
        )
    return status


def _check(status: os.stat_result, name: str, limit_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ExternalDataFault(f"external data {quoted(name)} is not a regular file")
    if status.st_nlink > 1:
        # The same content may be somebody's secret under another name.
        advice = f"replace it by a copy of its own: cp {name} COPY && mv COPY {name}"
        raise ExternalDataFault(f"external data file {quoted(name)} has another name elsewhere (a hard link)", advice)
    if status.st_size > limit_bytes:
        raise ExternalDataFault(
            f"external data file {quoted(name)} holds {status.st_size:,} bytes; at most {limit_bytes:,} are read",
            how_to_raise("file_bytes", status.st_size),
        )


def external_data_error(error: ExternalDataFault, name: str) -> InvalidModel:
    """Return ``error`` as the user's error about the tensor called ``name``."""
    return InvalidModel(f"tensor {quoted(name)}: {error}", place=name, advice=error.advice)
