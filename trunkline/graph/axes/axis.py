"""What an axis of a computed value counts: images, channels, rows, columns, or a product of such parts.

An :data:`Axis` is a tuple of parts, the slowest first, as they lie in memory; an axis of size 1 counts nothing and is
``()``. Rows that were split into 8 windows of 7 are two parts, ``rows 8 of 56 in steps of 7`` and ``rows 7 of 56 in
steps of 1``, so that they are one again where they meet in that order, whatever the axes in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

# The kinds of parts.
BATCH = "batch"
CHANNEL = "channel"
ROW = "row"
COLUMN = "column"
LEARNED = "learned"
"""An axis that a weight made of positions, as in an MLP-Mixer: it means what it is added to."""
SAME = "same"
"""The same number repeated, or a stored one: an axis that means what it is added to."""
JOINED = "joined"
"""Axes of different meaning, one after the other, as a class token and the positions behind it."""
UNKNOWN = "unknown"
"""An axis that cannot be followed."""
MIXED = "mixed"
"""Rows met columns, or channels: the value is no picture, and nothing that is computed from it is."""

FREE = 2**61 - 1
"""Stands for the free batch size: a prime, which no size is or divides."""


class AxisPart(NamedTuple):
    """What an axis counts, or a part of it.

    Attributes:
        kind: One of the names above, such as :data:`ROW`.
        size: How many rows, columns, channels… it counts.
        extent: For rows and columns, how many the whole axis had before it was split.
        step: For rows and columns, how many of the whole lie between two of these.
        joined: For a joined axis, each one's size and parts.
        cut: For rows and columns, whether some have been left out at an end.
    """

    kind: str
    size: int
    extent: int = 0
    step: int = 1
    joined: tuple[tuple[int, tuple[AxisPart, ...]], ...] = ()
    cut: bool = False


Axis = tuple[AxisPart, ...]
Axes = tuple[Axis, ...]
Sizes = tuple[int, ...]


@lru_cache(maxsize=4096)
def of(kind: str, size: int) -> Axis:
    """Return a whole axis.

    An axis of size 1 counts nothing, with two exceptions: rows and columns are known even where there is but one, and
    what is mixed must stay so.
    """
    if kind in (ROW, COLUMN):
        return (AxisPart(kind, size, size),)
    if size == 1 and kind != MIXED:
        return ()
    return (AxisPart(kind, size),)


def is_only(axis: Axis, *kinds: str) -> bool:
    """Whether all that ``axis`` counts is of these kinds."""
    return all(part.kind in kinds for part in axis)


def is_along(axis: Axis, kind: str) -> bool:
    """Whether ``axis`` runs along the image's rows or columns: the whole way, with parts of a pixel behind at most."""
    return bool(axis) and leads(axis[0], kind) and is_only(axis[1:], CHANNEL, LEARNED, SAME)


def is_channels(axis: Axis) -> bool:
    """Whether ``axis`` counts channels, or parts of a pixel that were made channels."""
    return all(part.kind in (CHANNEL, LEARNED, SAME) or _is_inside_pixel(part) for part in axis)


def as_positions(axis: Axis) -> tuple[AxisPart, AxisPart] | None:
    """Return the two parts of an axis that runs over all pixels of a map, row by row or column by column."""
    if len(axis) != 2 or {axis[0].kind, axis[1].kind} != {ROW, COLUMN}:
        return None
    first, second = axis
    return (first, second) if leads(first, first.kind) and leads(second, second.kind) else None


def is_known(axes: Axes) -> bool:
    """Whether it is known of all ``axes`` what they count."""
    return all(part.kind not in (MIXED, UNKNOWN) for axis in axes for part in axis)


def leads(part: AxisPart, kind: str) -> bool:
    """Whether a part of rows or columns goes from one end of the image to the other."""
    return part.kind == kind and part.step * part.size == part.extent


def _is_inside_pixel(part: AxisPart) -> bool:
    return part.kind in (ROW, COLUMN) and part.step * part.size < part.extent


def is_mixed(axes: Sequence[Axis]) -> bool:
    """Whether one of ``axes`` counts what has no common meaning."""
    return any(part.kind == MIXED for axis in axes for part in axis)


def in_words(axes: Axes) -> str:
    """Return what ``axes`` count, for the user."""
    return ", ".join(_word(axis) for axis in axes)


def _word(axis: Axis) -> str:
    if not axis:
        return "of size 1"
    for kind in (ROW, COLUMN):
        if is_along(axis, kind):
            return f"{kind}s"
    if axis[0].kind == BATCH:
        return "batch"
    if as_positions(axis) is not None:
        return "positions"
    return "channels" if is_channels(axis) else "of unknown meaning"
