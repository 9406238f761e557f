"""What an axis counts where two values are combined number by number."""

from __future__ import annotations

from collections.abc import Callable

from trunkline.graph.axes.axis import (
    CHANNEL,
    COLUMN,
    LEARNED,
    MIXED,
    ROW,
    SAME,
    UNKNOWN,
    Axis,
    as_positions,
    is_along,
    is_channels,
    is_mixed,
    is_only,
    leads,
    of,
)
from trunkline.graph.axes.pieces import join, pieces_of


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
    return bool(axis) and all(leads(part, kind) for part in axis)


def _has_unknown(axis: Axis) -> bool:
    return any(part.kind == UNKNOWN for part in axis)


def _grid(axis: Axis) -> list[tuple[str, int]]:
    return [(part.kind, part.size) for part in as_positions(axis) or ()]


def _meet_in_parts(a: Axis, b: Axis, size: int) -> Axis:
    """Return what positions of one grid count together, or axes that are joined of pieces of the same sizes."""
    ours, theirs = _grid(a), _grid(b)
    if ours and ours == theirs:
        whole = tuple(part for kind, count in ours for part in of(kind, count))
        return _first(_is_split, a, b) or whole
    left, right = pieces_of(a), pieces_of(b)
    sizes = [count for count, _ in left]
    if not left or sizes != [count for count, _ in right]:
        return of(MIXED, size)
    met = [meet(one, other, count) for (count, one), (_, other) in zip(left, right, strict=True)]
    if is_mixed(met):
        return of(MIXED, size)
    return join(list(zip(sizes, met, strict=True)))
