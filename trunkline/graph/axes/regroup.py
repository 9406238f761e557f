"""What the axes of a reshaped value count: parts keep the order in which they lie in memory."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.graph.axes.axis import COLUMN, JOINED, ROW, UNKNOWN, Axes, Axis, AxisPart, Sizes, of


def regroup(axes: Axes, sizes: Sizes, wanted: Sizes) -> Axes:
    """Return what the axes of a Reshape from ``sizes`` to ``wanted`` count, by the order of numbers in memory.

    For instance, rows of 56 split into 8 windows of 7, as windows of attention are: both axes are parts of the rows.

    >>> rows, columns = of(ROW, 56), of(COLUMN, 56)
    >>> windows, rows_within, same = regroup((rows, columns), (56, 56), (8, 7, 56))
    >>> [(part.kind, part.size, part.step) for part in (*windows, *rows_within)]
    [('row', 8, 7), ('row', 7, 1)]
    >>> regroup((windows, rows_within, same), (8, 7, 56), (56, 56)) == (rows, columns)
    True
    """
    result: list[Axis] = []
    start = 0
    for old, new in _runs(sizes, wanted):
        inside = axes[start : start + old]
        start += old
        targets = wanted[len(result) : len(result) + new]
        is_kept = (old, new) == (1, 1)
        result += inside if is_kept else _divided(inside, targets)
    return tuple(result)


def _runs(sizes: Sizes, wanted: Sizes) -> list[tuple[int, int]]:
    """Pair the smallest runs of axes of both shapes that hold as many numbers: how many axes each has."""
    runs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(sizes) and j < len(wanted):
        first_old, first_new = i, j
        old, new = sizes[i], wanted[j]
        i, j = i + 1, j + 1
        while (old < new and i < len(sizes)) or (new < old and j < len(wanted)):
            # The shorter run takes its next axis until both hold as many numbers.
            if old < new:
                old, i = old * sizes[i], i + 1
            else:
                new, j = new * wanted[j], j + 1
        runs.append((i - first_old, j - first_new))
    if runs and (i, j) != (len(sizes), len(wanted)):
        # Only axes of size 1 are left on one side: they go with the last run.
        old_axes, new_axes = runs.pop()
        runs.append((old_axes + len(sizes) - i, new_axes + len(wanted) - j))
    return runs


def _divided(axes: Sequence[Axis], targets: Sizes) -> list[Axis]:
    """Deal the parts of ``axes`` out to axes of the sizes ``targets``; if a part would straddle two, none is known."""
    parts = [part for axis in axes for part in axis if part.size > 1]
    left = list(_neighbours_joined(parts))[::-1]  # a stack: the slowest part is taken first
    result: list[Axis] = []
    for size in targets:
        taken = _take(left, size)
        if taken is None:
            return [of(UNKNOWN, target) for target in targets]
        result.append(_neighbours_joined(taken))
    return result


def _take(left: list[AxisPart], size: int) -> list[AxisPart] | None:
    """Take parts of ``size`` numbers off the stack; ``None`` where one would straddle the end."""
    taken: list[AxisPart] = []
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


def _split(part: AxisPart, size: int) -> tuple[AxisPart, AxisPart]:
    """Split a part into ``size`` runs of consecutive places, and the places within a run."""
    within = part.size // size
    if part.kind in (ROW, COLUMN):
        return part._replace(size=size, step=part.step * within), part._replace(size=within)
    # Where the pieces of a joined axis begin is not kept in its parts.
    kind = UNKNOWN if part.kind == JOINED else part.kind
    return AxisPart(kind, size), AxisPart(kind, within)


def _neighbours_joined(parts: Sequence[AxisPart]) -> Axis:
    """Make one part of two that lay side by side in the image too. The order of channels is not kept."""
    result: list[AxisPart] = []
    for part in parts:
        last = result[-1] if result else None
        if last is None or last.kind != part.kind or part.kind == JOINED:
            result.append(part)
        elif part.kind not in (ROW, COLUMN):
            result[-1] = AxisPart(part.kind, last.size * part.size)
        elif (last.extent, last.step) == (part.extent, part.step * part.size):
            # One step of the slower part is all that the quicker one goes through: no row is missing between.
            result[-1] = part._replace(size=last.size * part.size)
        else:
            result.append(part)
    return tuple(result)
