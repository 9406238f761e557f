"""Read pictures and arrays of a data folder; every error names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from trunkline.errors import InvalidConfig, Problem
from trunkline.text import shape_text
from trunkline.train.data.stored_pixels import spread_of, transparent_pixels
from trunkline.train.labels.crop import Size

T = TypeVar("T")

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_MAX_PIXELS = 100_000_000
"""A PNG of some kilobytes may hold a picture of gigabytes."""
# What damaged files raise, beside OSError: Pillow has SyntaxError for a broken PNG, numpy EOFError for an empty file.
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
    """Return a picture as uint8 ``[H, W, 3]``; grey, palette and 16-bit pictures are converted.

    Raises:
        InvalidConfig: the file cannot be read.
    """
    return _guarded(path, _read_rgb)


def read_numbers(path: Path) -> np.ndarray:
    """Return a one-channel picture's stored numbers, int32 ``[H, W]``: grey values, or the indices of a palette.

    A pixel of b bits is a number from 0 to 2^b - 1, whatever b is: a bitmap holds 0 and 1.

    Raises:
        InvalidConfig: the file cannot be read, has several channels, or is transparent somewhere.
    """
    return _guarded(path, _read_numbers)


def read_colours(path: Path) -> np.ndarray:
    """Return a picture's colours as numbers 0xRRGGBB, int32 ``[H, W]``.

    Raises:
        InvalidConfig: the file cannot be read, or is transparent somewhere.
    """
    return _guarded(path, _read_colours)


def has_colours(path: Path) -> bool:
    """Return, from its header, whether a picture has several channels beside one for transparency.

    Raises:
        InvalidConfig: the file cannot be read.
    """
    return _guarded(path, _has_colours)


def read_array(path: Path) -> np.ndarray:
    """Return an ``.npy`` file as float32 ``[H, W]``.

    Raises:
        InvalidConfig: the file cannot be read.
    """
    return _guarded(path, _read_array)


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return a folder's files with one of the suffixes by name without suffix, sorted; empty for no such folder."""
    return {path.stem: path for path in visible_files(folder) if path.suffix.lower() in suffixes}


def visible_files(folder: Path) -> list[Path]:
    """Return a folder's files whose names do not begin with a dot, sorted; none for no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())


def outside(
    values: np.ndarray, allowed: np.ndarray, path: Path, expected: str, shown: Callable[[Any], str] = str
) -> Problem | None:
    """Return a problem that names the first pixel of ``[H, W]`` at which ``allowed`` is false, if there is one."""
    if allowed.all():
        return None
    row, column = np.unravel_index(int(np.argmin(allowed)), allowed.shape)
    count = int(allowed.size - np.count_nonzero(allowed))
    value = values[row, column]
    return Problem(
        f"value {shown(value)} at row {row}, column {column}, expected {expected} ({count} such pixels in all)",
        place=str(path),
    )


def wrong_size(path: Path, size: tuple[int, ...], image: tuple[int, ...]) -> Problem:
    """Return the problem of a label of another height and width than its image."""
    return Problem(f"{size[0]} x {size[1]} pixels, but its image has {image[0]} x {image[1]}", place=str(path))


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
    # Mapped, so that only the header is read; without pickles, since those run code.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return _plane(array).shape[:2]


def _read_rgb(path: Path) -> np.ndarray:
    _picture_size(path)
    with Image.open(path) as picture:
        if picture.mode.startswith("I"):  # Pillow would clip 16 bits to 8, and show everything white
            grey = (np.asarray(picture).astype(np.int64) * 255 + 32_767) // 65_535
            return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)
        if isinstance(picture.info.get("transparency"), bytes):
            # Pillow warns of a palette with alphas that becomes RGB at once.
            return np.asarray(picture.convert("RGBA").convert("RGB"))
        return np.asarray(picture.convert("RGB"))


def _read_numbers(path: Path) -> np.ndarray:
    _picture_size(path)
    with Image.open(path) as picture:
        spread, transparent = spread_of(picture), transparent_pixels(picture)
        stored = np.asarray(picture)
        if picture.mode in ("LA", "PA"):
            stored = stored[..., 0]
    if stored.ndim != 2:
        raise ValueError(f"{stored.shape[2]} channels, expected one channel of class numbers")
    _check_opaque(transparent)
    return stored.astype(np.int32) // spread


def _read_colours(path: Path) -> np.ndarray:
    _picture_size(path)
    with Image.open(path) as picture:
        _check_opaque(transparent_pixels(picture))
    red, green, blue = np.moveaxis(_read_rgb(path).astype(np.int32), -1, 0)
    colours: np.ndarray = (red << 16) | (green << 8) | blue
    return colours


def _has_colours(path: Path) -> bool:
    with Image.open(path) as picture:
        return len(set(picture.getbands()) - {"A"}) > 1


def _check_opaque(transparent: int) -> None:
    if transparent:
        text = f"{transparent} pixels are transparent, and nothing says what that means; save it without alpha"
        raise ValueError(text)


def _read_array(path: Path) -> np.ndarray:
    return _plane(np.load(path, allow_pickle=False)).astype(np.float32)


def _plane(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(f"{array.dtype} of shape {shape_text(array.shape)}, expected floats of shape [H, W]")
    return array
