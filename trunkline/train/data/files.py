"""Reads pictures and arrays of a data folder; whatever is wrong with one is an error that names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from trunkline.errors import InvalidConfig, Problem

Size = tuple[int, int]
T = TypeVar("T")

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_MAX_PIXELS = 100_000_000
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def picture_size(path: Path) -> Size:
    """Return height and width from a picture's header, without decoding it.

    Raises:
        InvalidConfig: no such file, not a picture, or more than 100 million pixels.
    """
    return _guarded(path, _picture_size)


def array_size(path: Path) -> Size:
    """Return height and width from the header of an ``.npy`` file holding ``[H, W]`` or ``[H, W, 1]`` floats.

    Raises:
        InvalidConfig: no such file, another format, shape or type.
    """
    return _guarded(path, _array_size)


def read_rgb(path: Path) -> np.ndarray:
    """Return a picture as uint8 ``[H, W, 3]``; grey and palette pictures are converted.

    Raises:
        InvalidConfig: the file cannot be read.
    """
    return _guarded(path, _read_rgb)


def read_numbers(path: Path) -> np.ndarray:
    """Return a one-channel picture's stored numbers ``[H, W]``: grey values, or the indices of a palette.

    Raises:
        InvalidConfig: the file cannot be read, or has several channels.
    """
    return _guarded(path, _read_numbers)


def read_array(path: Path) -> np.ndarray:
    """Return an ``.npy`` file as float32 ``[H, W]``.

    Raises:
        InvalidConfig: the file cannot be read.
    """
    return _guarded(path, _read_array)


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return a folder's files with one of the suffixes by name without suffix, sorted; empty for no such folder."""
    if not folder.is_dir():
        return {}
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return {path.stem: path for path in sorted(found)}


def outside(values: np.ndarray, allowed: np.ndarray, path: Path, expected: str) -> Problem | None:
    """Return a problem that names the first pixel of ``[H, W]`` at which ``allowed`` is false, if there is one."""
    if allowed.all():
        return None
    row, column = np.unravel_index(int(np.argmin(allowed)), allowed.shape)
    count = int(allowed.size - np.count_nonzero(allowed))
    value = values[row, column]
    return Problem(
        f"value {value} at row {row}, column {column}, expected {expected} ({count} such pixels in all)",
        place=str(path),
    )


def _guarded(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except FileNotFoundError as error:
        raise InvalidConfig("there is no such file", place=str(path)) from error
    except _UNREADABLE as error:
        raise InvalidConfig(f"the file cannot be read: {error}", place=str(path)) from error


def _picture_size(path: Path) -> Size:
    with Image.open(path) as picture:
        width, height = picture.size
    if width * height > _MAX_PIXELS:
        raise ValueError(f"{height} x {width} pixels, at most {_MAX_PIXELS:,} are accepted")
    return height, width


def _array_size(path: Path) -> Size:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return _plane(array).shape[:2]


def _read_rgb(path: Path) -> np.ndarray:
    _picture_size(path)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _read_numbers(path: Path) -> np.ndarray:
    _picture_size(path)
    with Image.open(path) as picture:
        numbers = np.asarray(picture)
    if numbers.ndim != 2:
        raise ValueError(f"{numbers.shape[2]} channels, expected one channel of class numbers")
    return numbers


def _read_array(path: Path) -> np.ndarray:
    return _plane(np.load(path, allow_pickle=False)).astype(np.float32)


def _plane(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(f"{array.dtype} of shape {list(array.shape)}, expected floats of shape [H, W]")
    return array
