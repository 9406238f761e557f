"""What an axis of a computed value counts: images, channels, rows, columns, or a product of such parts.

An :data:`Axis` is a tuple of parts, the slowest first, as they lie in memory; an axis of size 1 counts nothing and is
``()``. Rows that were split into 8 windows of 7 are two parts, ``rows 8 of 56 in steps of 7`` and ``rows 7 of 56 in
steps of 1``, so that they are one again where they meet in that order, whatever the axes in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

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


class Part(NamedTuple):
    """What an axis counts, or a part of it.

    Attributes:
        kind: One of the names above.
        size: How many.
        extent: For rows and columns, how many the whole axis had before it was split.
        step: For rows and columns, how many of the whole lie between two of these.
        joined: For a joined axis, each one's size and parts.
        cut: For rows and columns, whether some have been left out at an end.
    """

    kind: str
    size: int
    extent: int = 0
    step: int = 1
    joined: tuple[tuple[int, tuple[Part, ...]], ...] = ()
    cut: bool = False


Axis = tuple[Part, ...]
Axes = tuple[Axis, ...]
Sizes = tuple[int, ...]


@lru_cache(maxsize=4096)
def of(kind: str, size: int) -> Axis:
    """Return a whole axis; rows and columns are known even where there is but one."""
    if kind in (ROW, COLUMN):
        return (Part(kind, size, size),)
    return () if size == 1 and kind != MIXED else (Part(kind, size),)


def is_only(axis: Axis, *kinds: str) -> bool:
    """Whether all that ``axis`` counts is of these kinds."""
    return all(part.kind in kinds for part in axis)


def is_along(axis: Axis, kind: str) -> bool:
    """Whether ``axis`` runs along the image's rows or columns: the whole way, with parts of a pixel behind at most."""
    return bool(axis) and _leads(axis[0], kind) and is_only(axis[1:], CHANNEL, LEARNED, SAME)


def is_channels(axis: Axis) -> bool:
    """Whether ``axis`` counts channels, or parts of a pixel that were made channels."""
    return all(part.kind in (CHANNEL, LEARNED, SAME) or _is_inside_pixel(part) for part in axis)


def as_positions(axis: Axis) -> tuple[Part, Part] | None:
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


def _leads(part: Part, kind: str) -> bool:
    """Whether a part of rows or columns goes from one end of the image to the other."""
    return part.kind == kind and part.step * part.size == part.extent


def _is_inside_pixel(part: Part) -> bool:
    return part.kind in (ROW, COLUMN) and part.step * part.size < part.extent


def meet(a: Axis, b: Axis, size: int) -> Axis:
    """Return what an axis of ``size`` counts where values that count ``a`` and ``b`` are combined number by number."""
    if a == b or is_only(b, SAME):
        return a
    if is_only(a, SAME):
        return b
    if _has_unknown(a) or _has_unknown(b):
        return of(UNKNOWN, size)
    if is_only(a, LEARNED) or is_only(b, LEARNED):
        return b if is_only(a, LEARNED) else a
    if is_channels(a) and is_channels(b):
        return of(CHANNEL, size)
    for kind in (ROW, COLUMN):
        if is_along(a, kind) and is_along(b, kind):
            return next((axis for axis in (a, b) if _is_split(axis)), of(kind, size))
        if _is_of_pictures(a, kind) and _is_of_pictures(b, kind):
            return next((axis for axis in (a, b) if is_along(axis, kind)), a)
    return _meet_in_parts(a, b, size)


def _is_split(axis: Axis) -> bool:
    """Whether the rest of its rows or columns is another axis, which may come back."""
    return any(part.step > 1 for part in axis)


def _is_of_pictures(axis: Axis, kind: str) -> bool:
    """Whether ``axis`` runs along rows or columns, in each place of which there may be a whole smaller picture.

    So it is where every window asks about the same positions, those of a map as small as a window.
    """
    return bool(axis) and all(_leads(part, kind) for part in axis)


def _has_unknown(axis: Axis) -> bool:
    return any(part.kind == UNKNOWN for part in axis)


def _meet_in_parts(a: Axis, b: Axis, size: int) -> Axis:
    ours, theirs = _grid(a), _grid(b)
    if ours and ours == theirs:
        whole = tuple(part for kind, count in ours for part in of(kind, count))
        return next((axis for axis in (a, b) if _is_split(axis)), whole)
    left, right = _pieces(a), _pieces(b)
    if not left or [count for count, _ in left] != [count for count, _ in right]:
        return of(MIXED, size)
    met = [meet(one, other, count) for (count, one), (_, other) in zip(left, right, strict=True)]
    return (
        of(MIXED, size) if is_mixed(met) else join([(count, axis) for (count, _), axis in zip(left, met, strict=True)])
    )


def _pieces(axis: Axis) -> tuple[tuple[int, Axis], ...]:
    return axis[0].joined if len(axis) == 1 else ()


def is_mixed(axes: Sequence[Axis]) -> bool:
    """Whether one of ``axes`` counts what has no common meaning."""
    return any(part.kind == MIXED for axis in axes for part in axis)


MOST_JOINED = 64
"""More pieces than this on one axis are not told apart."""


def join(pieces: Sequence[tuple[int, Axis]]) -> Axis:
    """Return what an axis counts that is made of ``pieces`` (each a size and what it counts), one after the other."""
    size = sum(piece[0] for piece in pieces)
    telling = [axis for _, axis in pieces if not is_only(axis, SAME)]
    if not telling:
        return of(SAME if all(axis for _, axis in pieces) else CHANNEL, size)
    for kinds in ((CHANNEL, LEARNED), (UNKNOWN,)):
        if all(is_only(axis, *kinds) for axis in telling):
            return of(kinds[0], size)
    if len(pieces) == 1:
        return pieces[0][1]
    for kind in (ROW, COLUMN):
        if all(is_along(axis, kind) for axis in telling):
            return of(kind if _is_padded_or_rolled(pieces, kind) else UNKNOWN, size)
    flat: list[tuple[int, Axis]] = []
    for piece_size, axis in pieces:
        flat += _pieces(axis) or [(piece_size, axis)]
    if len(flat) > MOST_JOINED or any(part.joined for _, axis in flat for part in axis):
        return of(UNKNOWN, size)  # pieces of pieces would take as long to compare as a file likes
    return (Part(JOINED, size, joined=tuple(flat)),)


def _is_padded_or_rolled(pieces: Sequence[tuple[int, Axis]], kind: str) -> bool:
    """Whether pieces of rows are one picture: by themselves, with their own edges or with some constant rows around.

    Two whole ones under each other are not.
    """
    own = [(count, axis[0].cut) for count, axis in pieces if is_along(axis, kind)]
    around = sum(count for count, _ in pieces) - sum(count for count, _ in own)
    return sum(not cut for _, cut in own) < 2 and 2 * around < sum(count for count, _ in own)


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
    return tuple(part._replace(cut=True) for part in left) if is_only(left, ROW, COLUMN) else left


def _section_of_joined(part: Part, start: int, stop: int) -> Axis:
    """Pieces are known if they are whole; of a piece of rows, columns or channels, any part is."""
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
    for kind in (ROW, COLUMN):
        if is_along(axis, kind):
            return (Part(kind, size, size, cut=axis[0].cut),)
    for kind in (SAME, CHANNEL, LEARNED):
        if is_only(axis, kind, SAME):
            return of(kind, size)
    return of(UNKNOWN, size)


def regroup(axes: Axes, sizes: Sizes, wanted: Sizes) -> Axes:
    """Return what the axes of a Reshape from ``sizes`` to ``wanted`` count, by the order of numbers in memory."""
    result: list[Axis] = []
    at = 0
    for old, new in _runs(sizes, wanted):
        inside = axes[at : at + old]
        at += old
        targets = wanted[len(result) : len(result) + new]
        result += inside if (old, new) == (1, 1) else _divided(inside, targets)
    return tuple(result)


def _runs(sizes: Sizes, wanted: Sizes) -> list[tuple[int, int]]:
    """Pair the smallest runs of axes of both shapes that hold as many numbers: how many axes each has."""
    runs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(sizes) and j < len(wanted):
        first, second, a, b = i, j, sizes[i], wanted[j]
        i, j = i + 1, j + 1
        while a != b and (i < len(sizes) if a < b else j < len(wanted)):
            if a < b:
                a, i = a * sizes[i], i + 1
            else:
                b, j = b * wanted[j], j + 1
        runs.append((i - first, j - second))
    if runs and (i, j) != (len(sizes), len(wanted)):  # only axes of size 1 are left
        old, new = runs.pop()
        runs.append((old + len(sizes) - i, new + len(wanted) - j))
    return runs


def _divided(axes: Sequence[Axis], targets: Sizes) -> list[Axis]:
    """Deal the parts of ``axes`` out to axes of the sizes ``targets``; if a part would straddle two, none is known."""
    left = list(_merged([part for axis in axes for part in axis if part.size > 1]))[::-1]
    result: list[Axis] = []
    for size in targets:
        taken = _take(left, size)
        if taken is None:
            return [of(UNKNOWN, target) for target in targets]
        result.append(_merged(taken))
    return result


def _take(left: list[Part], size: int) -> list[Part] | None:
    taken: list[Part] = []
    while size > 1 and left:
        part = left.pop()
        if size % part.size == 0:
            taken.append(part)
            size //= part.size
        elif part.size % size == 0:
            high, low = _split(part, size)
            taken.append(high)
            left.append(low)
            size = 1
        else:
            return None
    return taken if size == 1 else None


def _split(part: Part, size: int) -> tuple[Part, Part]:
    low = part.size // size
    if part.kind in (ROW, COLUMN):
        return part._replace(size=size, step=part.step * low), part._replace(size=low)
    kind = UNKNOWN if part.kind == JOINED else part.kind
    return Part(kind, size), Part(kind, low)


def _merged(parts: Sequence[Part]) -> Axis:
    """Make one part of two that lay side by side in the image too. The order of channels is not kept."""
    result: list[Part] = []
    for part in parts:
        last = result[-1] if result else None
        if last is None or last.kind != part.kind or part.kind == JOINED:
            result.append(part)
        elif part.kind not in (ROW, COLUMN):
            result[-1] = Part(part.kind, last.size * part.size)
        elif (last.extent, last.step) == (part.extent, part.step * part.size):
            result[-1] = part._replace(size=last.size * part.size)
        else:
            result.append(part)
    return tuple(result)


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
