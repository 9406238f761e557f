"""What an axis of a computed value counts: images, channels, rows, columns, or a product of such parts.

An :data:`Axis` is a tuple of parts, the slowest first, as they lie in memory; an axis of size 1 counts nothing and is
``()``. Rows that were split into 8 windows of 7 are two parts, ``rows 8 of 56 in steps of 7`` and ``rows 7 of 56 in
steps of 1``, so that they are one again where they meet in that order, whatever the axes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    return bool(axis) and _leads(axis[0], kind) and is_only(axis[1:], CHANNEL, LEARNED, SAME)


def is_channels(axis: Axis) -> bool:
    """Whether ``axis`` counts channels, or parts of a pixel that were made channels."""
    return all(part.kind in (CHANNEL, LEARNED, SAME) or _is_inside_pixel(part) for part in axis)


def as_positions(axis: Axis) -> tuple[AxisPart, AxisPart] | None:
    """Return the two parts of an axis that runs over all pixels of a map, row by row or column by column."""
    if len(axis) != 2 or {axis[0].kind, axis[1].kind} != {ROW, COLUMN}:
        return None
    first, second = axis
    return (first, second) if _leads(first, first.kind) and _leads(second, second.kind) else None


def is_known(axes: Axes) -> bool:
    """Whether it is known of all ``axes`` what they count."""
    return all(part.kind not in (MIXED, UNKNOWN) for axis in axes for part in axis)


def _grid(axis: Axis) -> list[tuple[str, int]]:
    return [(part.kind, part.size) for part in as_positions(axis) or ()]


def _leads(part: AxisPart, kind: str) -> bool:
    """Whether a part of rows or columns goes from one end of the image to the other."""
    return part.kind == kind and part.step * part.size == part.extent


def _is_inside_pixel(part: AxisPart) -> bool:
    return part.kind in (ROW, COLUMN) and part.step * part.size < part.extent


def meet(a: Axis, b: Axis, size: int) -> Axis:
    """Return what an axis of ``size`` counts where values that count ``a`` and ``b`` are combined number by number.

    1. Numbers that are the same along an axis take the other's meaning.
    2. What is unknown stays unknown; it is no proof that meanings differ.
    3. A learned axis, which has no positions of its own, takes the other's meaning.
    4. Channels of any kind are channels.
    5. Rows meet rows, columns meet columns: of the two, the axis that knows more is kept.
    6. Anything else must meet piece by piece; see :func:`_meet_in_parts`.
    """
    if a == b or is_only(b, SAME):  # rule 1
        return a
    if is_only(a, SAME):
        return b
    if _has_unknown(a) or _has_unknown(b):  # rule 2
        return of(UNKNOWN, size)
    if is_only(a, LEARNED):  # rule 3
        return b
    if is_only(b, LEARNED):
        return a
    if is_channels(a) and is_channels(b):  # rule 4
        return of(CHANNEL, size)
    for kind in (ROW, COLUMN):  # rule 5
        if is_along(a, kind) and is_along(b, kind):
            return _first(_is_split, a, b) or of(kind, size)
        if _is_of_pictures(a, kind) and _is_of_pictures(b, kind):
            return b if is_along(b, kind) and not is_along(a, kind) else a
    return _meet_in_parts(a, b, size)  # rule 6


def _first(is_wanted: Callable[[Axis], bool], a: Axis, b: Axis) -> Axis | None:
    if is_wanted(a):
        return a
    return b if is_wanted(b) else None


def _is_split(axis: Axis) -> bool:
    """Whether the rest of its rows or columns is another axis, which may come back."""
    return any(part.step > 1 for part in axis)


def _is_of_pictures(axis: Axis, kind: str) -> bool:
    """Whether ``axis`` runs along rows or columns, in each place of which there may be a whole smaller picture.

    So it is where windows attend to one small map: every window meets the same positions.
    """
    return bool(axis) and all(_leads(part, kind) for part in axis)


def _has_unknown(axis: Axis) -> bool:
    return any(part.kind == UNKNOWN for part in axis)


def _meet_in_parts(a: Axis, b: Axis, size: int) -> Axis:
    """Return what positions of one grid count together, or axes that are joined of pieces of the same sizes."""
    ours, theirs = _grid(a), _grid(b)
    if ours and ours == theirs:
        whole = tuple(part for kind, count in ours for part in of(kind, count))
        return _first(_is_split, a, b) or whole
    left, right = _pieces(a), _pieces(b)
    sizes = [count for count, _ in left]
    if not left or sizes != [count for count, _ in right]:
        return of(MIXED, size)
    met = [meet(one, other, count) for (count, one), (_, other) in zip(left, right, strict=True)]
    if is_mixed(met):
        return of(MIXED, size)
    return join(list(zip(sizes, met, strict=True)))


def _pieces(axis: Axis) -> tuple[tuple[int, Axis], ...]:
    return axis[0].joined if len(axis) == 1 else ()


def is_mixed(axes: Sequence[Axis]) -> bool:
    """Whether one of ``axes`` counts what has no common meaning."""
    return any(part.kind == MIXED for axis in axes for part in axis)


MOST_JOINED = 64
"""An axis of more pieces than this is unknown: a hostile file could make comparisons of them slow."""


def join(pieces: Sequence[tuple[int, Axis]]) -> Axis:
    """Return what an axis counts that is made of ``pieces`` (each a size and what it counts), one after the other.

    1. Repeated numbers stay that. Pieces of size 1, as a map's mean and maximum over its channels, become channels.
    2. Channels or learned axes are channels together; unknown ones are unknown.
    3. Rows or columns are a picture if they are one that is padded or rolled.
    4. Anything else is joined, as a class token and the positions behind it.
    """
    size = sum(piece[0] for piece in pieces)
    telling = [axis for _, axis in pieces if not is_only(axis, SAME)]
    if not telling:  # rule 1
        has_single = any(not axis for _, axis in pieces)
        return of(CHANNEL if has_single else SAME, size)
    for kinds in ((CHANNEL, LEARNED), (UNKNOWN,)):  # rule 2
        if all(is_only(axis, *kinds) for axis in telling):
            return of(kinds[0], size)
    if len(pieces) == 1:
        return pieces[0][1]
    for kind in (ROW, COLUMN):  # rule 3
        if all(is_along(axis, kind) for axis in telling):
            return of(kind if _is_padded_or_rolled(pieces, kind) else UNKNOWN, size)
    flat: list[tuple[int, Axis]] = []  # rule 4
    for piece_size, axis in pieces:
        flat += _pieces(axis) or [(piece_size, axis)]
    if len(flat) > MOST_JOINED or any(part.joined for _, axis in flat for part in axis):
        # Pieces of pieces would take as long to compare as a hostile file likes.
        return of(UNKNOWN, size)
    return (AxisPart(JOINED, size, joined=tuple(flat)),)


def _is_padded_or_rolled(pieces: Sequence[tuple[int, Axis]], kind: str) -> bool:
    """Whether pieces of rows are one picture: by themselves, with their own edges or with some constant rows around.

    Two whole pictures under each other are not. A rolled map, as in Swin, is two pieces that were cut off each other.
    """
    own = [(count, axis[0].cut) for count, axis in pieces if is_along(axis, kind)]
    rows = sum(count for count, _ in own)
    around = sum(count for count, _ in pieces) - rows
    whole = [count for count, cut in own if not cut]
    # Fewer rows around than the picture has: a map is padded by less than itself.
    return len(whole) < 2 and 2 * around < rows


def section(axis: Axis, start: int, stop: int) -> Axis:
    """Return what the places from ``start`` up to ``stop`` of an axis count."""
    size = stop - start
    whole = 1
    for part in axis:
        whole *= part.size
    if (start, stop) == (0, whole):
        return axis
    if len(axis) == 1 and axis[0].kind == JOINED:
        return _section_of_joined(axis[0], start, stop)
    left = scaled(axis, size)
    if is_only(left, ROW, COLUMN):
        return tuple(part._replace(cut=True) for part in left)
    return left


def _section_of_joined(part: AxisPart, start: int, stop: int) -> Axis:
    """Return what is left of joined pieces: those that lie inside as they are, of those at the ends a part."""
    pieces: list[tuple[int, Axis]] = []
    begin = 0
    for size, axis in part.joined:
        first, last = max(start, begin) - begin, min(stop, begin + size) - begin
        if first < last:
            pieces.append((last - first, section(axis, first, last)))
        begin += size
    return join(pieces)


def scaled(axis: Axis, size: int) -> Axis:
    """Return what an axis counts once some of its places are left out, or new ones are put between or around."""
    # Its parts, if it had any, cannot be found again among other places: it is one whole axis from now on.
    for kind in (ROW, COLUMN):
        if is_along(axis, kind):
            return (AxisPart(kind, size, size, cut=axis[0].cut),)
    for kind in (SAME, CHANNEL, LEARNED):
        if is_only(axis, kind, SAME):
            return of(kind, size)
    return of(UNKNOWN, size)


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
