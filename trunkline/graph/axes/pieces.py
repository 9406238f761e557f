"""Axes that are made of pieces, one after the other, and what is left of an axis that is cut or scaled."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.graph.axes.axis import (
    CHANNEL,
    COLUMN,
    JOINED,
    LEARNED,
    ROW,
    SAME,
    UNKNOWN,
    Axis,
    AxisPart,
    is_along,
    is_only,
    of,
)

MOST_JOINED = 64
"""An axis of more pieces than this is unknown: a hostile file could make comparisons of them slow."""


def pieces_of(axis: Axis) -> tuple[tuple[int, Axis], ...]:
    """Return each piece of a joined axis, its size and what it counts; none if it is not joined."""
    return axis[0].joined if len(axis) == 1 else ()


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
        flat += pieces_of(axis) or [(piece_size, axis)]
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
