"""The drawing of what a model executes: a box for each part that is computed once, with the colours of its tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from trunkline.report.html.executed import Executed, ExecutedPart
from trunkline.report.html.page import Drawing, Legend
from trunkline.report.html.svg import drawing, element, mark
from trunkline.report.style import task_colour
from trunkline.report.tables import Table

_NAMES, _COLUMN, _ROW, _BOX, _TOP = 250, 150, 34, 24, 34
_LETTERS = 36
"""As many fit beside the boxes."""


def executed_drawing(executed: Executed, tasks: Sequence[str]) -> Drawing:
    """Return the drawing of what a model executes.

    Args:
        executed: What it executes.
        tasks: The tasks in output order, which decides their colours.
    """
    colours = {task: task_colour(number) for number, task in enumerate(tasks)}
    width = _NAMES + _COLUMN * len(executed.tasks) + 20
    height = _TOP + _ROW * len(executed.rows) + 10
    label = f"The executed model: {len(executed.parts)} parts in {len(executed.rows)} rows; arrow keys walk through it"
    shapes = [*_names(executed), *_lines(executed), *_boxes(executed, colours)]
    legend = [Legend(colours[task], task) for task in executed.tasks]
    return Drawing(
        "What is executed, and for whom",
        text_of(executed),
        drawing(width, height, label, shapes),
        table_of(executed),
        tuple(legend),
    )


def text_of(executed: Executed) -> str:
    """Return what the drawing shows, in a sentence or two."""
    together = sum(len(part.tasks) > 1 for part in executed.parts)
    text = (
        f"From the image at the top to the heads: {len(executed.parts)} parts, of which {together} are computed once "
        f"for several tasks. A box spans the columns of the tasks that need it, and its stripes have their colours."
    )
    known = [part.macs for part in executed.parts if part.macs is not None]
    shared = sum(part.macs or 0 for part in executed.parts if len(part.tasks) > 1)
    if len(known) == len(executed.parts) and sum(known):
        text += f" {100 * shared / sum(known):.0f} % of the executed MACs are in parts that several tasks share."
    return text


def table_of(executed: Executed) -> Table:
    """Return the parts as a table."""
    rows = tuple(
        (
            executed.rows[part.row],
            ", ".join(part.tasks),
            part.instance or "–",
            _operators(part),
            "–" if part.macs is None else f"{part.macs / 1e6:.2f}",
        )
        for part in sorted(executed.parts, key=lambda part: part.row)
    )
    return Table("What is executed", ("unit", "computed once for", "weights", "operators", "MACs (M)"), rows)


def _names(executed: Executed) -> Iterator[Markup]:
    for number, task in enumerate(executed.tasks):
        x = _NAMES + _COLUMN * (number + 0.5)
        yield element("text", _short(task, 20), x=x, y=18, class_="strong", text_anchor="middle")
    for number, row in enumerate(executed.rows):
        y = _TOP + _ROW * (number + 0.5) + 4
        yield element("text", _short(row, _LETTERS), x=_NAMES - 14, y=y, class_="faint", text_anchor="end")


def _lines(executed: Executed) -> Iterator[Markup]:
    for start, end in executed.arrows:
        above, below = executed.parts[start], executed.parts[end]
        # Whoever reads from below, as through a join, is drawn from below.
        is_down = above.row <= below.row
        y0 = _TOP + _ROW * above.row + (_BOX if is_down else 0)
        y1 = _TOP + _ROW * below.row + (0 if is_down else _BOX)
        x0, x1 = _middle(executed, above, below), _middle(executed, below, above)
        bend = (y0 + y1) / 2
        way = f"M{x0:.1f} {y0} C{x0:.1f} {bend} {x1:.1f} {bend} {x1:.1f} {y1}"
        yield element("path", d=way, class_="flow")


def _boxes(executed: Executed, colours: dict[str, str]) -> Iterator[Markup]:
    for number, part in enumerate(sorted(executed.parts, key=lambda part: part.row)):
        y = _TOP + _ROW * part.row
        shapes: list[Markup] = []
        runs = _runs(executed, part)
        if len(runs) > 1:  # columns that do not stand side by side are one part all the same
            x0, x1 = _left(runs[0][0]), _left(runs[-1][-1]) + _COLUMN
            shapes.append(element("line", x1=x0 + 20, x2=x1 - 20, y1=y + 12, y2=y + 12, class_="bridge"))
        for run in runs:
            shapes += _box(executed, part, run, y, colours)
        yield mark(_tip(executed, part), shapes, first=number == 0)


def _box(
    executed: Executed, part: ExecutedPart, run: Sequence[int], y: float, colours: dict[str, str]
) -> Iterator[Markup]:
    x, width = _left(run[0]) + 5, _COLUMN * len(run) - 10
    kind = "box shared" if len(part.tasks) > 1 else "box"
    yield element("rect", x=x, y=y, width=width, height=_BOX, rx=4, class_=kind)
    for number in run:
        task = executed.tasks[number]
        left = _left(number) + 9
        yield element("rect", x=left, y=y + _BOX - 7, width=_COLUMN - 18, height=4, rx=2, fill=colours[task])
    words = f"once for {len(part.tasks)} tasks" if len(part.tasks) > 1 else "for one task"
    yield element("text", words, x=x + width / 2, y=y + 13, class_="small", text_anchor="middle")


def _runs(executed: Executed, part: ExecutedPart) -> list[list[int]]:
    """Return the columns of a part, those side by side together."""
    runs: list[list[int]] = []
    for number in sorted(executed.tasks.index(task) for task in part.tasks):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _middle(executed: Executed, part: ExecutedPart, other: ExecutedPart) -> float:
    """Return where a line to ``other`` leaves a part: the middle of the columns that both are for."""
    common = [task for task in part.tasks if task in other.tasks] or list(part.tasks)
    places = [executed.tasks.index(task) for task in common]
    return _NAMES + _COLUMN * (min(places) + max(places) + 1) / 2


def _left(column: int) -> float:
    return _NAMES + _COLUMN * column


def _tip(executed: Executed, part: ExecutedPart) -> str:
    whom = ", ".join(part.tasks)
    macs = "" if part.macs is None else f"; {part.macs / 1e6:.2f} M MACs"
    weights = f"; weights {part.instance}" if part.instance else ""
    return f"{executed.rows[part.row]}: computed once for {whom}{weights}; {_operators(part)}{macs}"


def _operators(part: ExecutedPart) -> str:
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in part.operators.items())


def _short(text: str, letters: int) -> str:
    # Names of layers differ at their ends.
    return text if len(text) <= letters else f"{text[: letters // 2 - 1]}…{text[-(letters // 2) :]}"
