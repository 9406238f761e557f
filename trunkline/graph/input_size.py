"""The image size to read a network for, in place of the file's own."""

from __future__ import annotations

from trunkline.errors import InvalidModel

InputSize = tuple[int, int] | tuple[int, int, int]
"""Height and width in pixels, or channels, height and width."""


def channels_of(size: InputSize | None) -> int | None:
    """Return the number of channels, where ``size`` gives one."""
    return size[0] if size is not None and len(size) == 3 else None


def pixels_of(size: InputSize | None) -> tuple[int, int] | None:
    """Return height and width, where ``size`` is given."""
    return None if size is None else (size[-2], size[-1])


def check_size(size: InputSize | None) -> None:
    """Raise :class:`InvalidModel` for what is no size of an image."""
    if size is None:
        return
    if len(size) not in (2, 3) or min(size) < 1:
        text = f"input size {size}; whole numbers of at least 1 were expected"
        raise InvalidModel(text, advice="--input-size H,W, or C,H,W")
