"""The drawing of what a model executes: a box for each part that is computed once, with the colours of its tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from trunkline.report.html.executed import Executed, ExecutedPart
from trunkline.report.html.page import Drawing, Legend
from trunkline.report.html.svg import drawing, element, mark
from trunkline.report.style import task_colour
from trunkline.report.tables import Table

_NAMES, _COLUMN, _ROW, _BOX, _TOP = 250, 150, 38, 24, 34
_LETTERS = 36
"""As many fit beside the boxes."""


def executed_drawing(executed: Executed, tasks: Sequence[str]) -> Drawing:
    """Return the drawing of what a model executes.

    Args:
        executed: What it executes.
        tasks: The tasks in output order, which decides their colours.
    """
    colours = {task: task_colour(number) for number, task in enumerate(tasks)}
    layout = _Layout.of(executed)
    width = _NAMES + _COLUMN * len(executed.tasks) + 20
    height = _TOP + _ROW * layout.height + 4
    label = f"The executed model: {len(executed.parts)} parts in {len(executed.rows)} rows; arrow keys walk through it"
    shapes = [*_names(layout), *_lines(layout), *_boxes(layout, colours)]
    legend = [Legend(colours[task], task) for task in executed.tasks]
    return Drawing(
        "What is executed, and for whom",
        text_of(executed),
        drawing(width, height, label, shapes),
        table_of(executed),
        tuple(legend),
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the parts are drawn: a row has several lanes where its parts would stand on each other.

    Attributes:
        executed: What is drawn.
        starts: The first lane of each row.
        lanes: The lane of each part.
        height: How many lanes there are.
    """

    executed: Executed
    starts: tuple[int, ...]
    lanes: tuple[int, ...]
    height: int

    @classmethod
    def of(cls, executed: Executed) -> _Layout:
        starts: list[int] = []
        lanes = [0] * len(executed.parts)
        height = 0
        for row in range(len(executed.rows)):
            starts.append(height)
            taken: list[set[int]] = []
            for number, part in enumerate(executed.parts):
                if part.row == row:
                    own = _columns(executed, part)
                    lane = next((i for i, others in enumerate(taken) if not own & others), len(taken))
                    if lane == len(taken):
                        taken.append(set())
                    taken[lane] |= own
                    lanes[number] = height + lane
            height += max(1, len(taken))
        return cls(executed, tuple(starts), tuple(lanes), height)

    def top(self, number: int) -> float:
        """Return the upper edge of a part."""
        return _TOP + _ROW * self.lanes[number]


def text_of(executed: Executed) -> str:
    """Return what the drawing shows, in a sentence or two."""
    together = sum(1 for part in executed.parts if len(part.tasks) > 1)
    text = (
        f"From the image at the top to the heads: {len(executed.parts)} parts, of which {together} are computed once "
        f"for several tasks. A box spans the columns of the tasks that need it, and its stripes have their colours."
    )
    known = [part.macs for part in executed.parts if part.macs is not None]
    shared = sum(part.macs or 0 for part in executed.parts if len(part.tasks) > 1)
    whole = sum(known)
    if len(known) == len(executed.parts) and whole:
        text += f" {100 * shared / whole:.0f} % of the executed MACs are in parts that several tasks need."
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


def _names(layout: _Layout) -> Iterator[Markup]:
    executed = layout.executed
    for number, task in enumerate(executed.tasks):
        x = _NAMES + _COLUMN * (number + 0.5)
        yield element("text", _short(task, 20), x=x, y=18, class_="strong", text_anchor="middle")
    for start, row in zip(layout.starts, executed.rows, strict=True):
        y = _TOP + _ROW * start + _BOX / 2 + 4
        yield element("text", _short(row, _LETTERS), x=_NAMES - 14, y=y, class_="faint", text_anchor="end")


def _lines(layout: _Layout) -> Iterator[Markup]:
    executed = layout.executed
    for start, end in executed.arrows:
        above, below = executed.parts[start], executed.parts[end]
        # Whoever reads from below, as through a join, is drawn from below.
        is_down = layout.lanes[start] <= layout.lanes[end]
        y0 = layout.top(start) + (_BOX if is_down else 0)
        y1 = layout.top(end) + (0 if is_down else _BOX)
        x0, x1 = _middle(executed, above, below), _middle(executed, below, above)
        bend = (y0 + y1) / 2
        way = f"M{x0:.1f} {y0:.1f} C{x0:.1f} {bend:.1f} {x1:.1f} {bend:.1f} {x1:.1f} {y1:.1f}"
        yield element("path", d=way, class_="flow")


def _boxes(layout: _Layout, colours: dict[str, str]) -> Iterator[Markup]:
    executed = layout.executed
    # From the image on, so that arrow keys walk downwards.
    for place, number in enumerate(sorted(range(len(executed.parts)), key=lambda each: layout.lanes[each])):
        part, y = executed.parts[number], layout.top(number)
        shapes: list[Markup] = []
        runs = _runs(executed, part)
        if len(runs) > 1:  # columns that do not stand side by side are one part all the same
            x0, x1 = _left(runs[0][0]), _left(runs[-1][-1]) + _COLUMN
            shapes.append(element("line", x1=x0 + 20, x2=x1 - 20, y1=y + 12, y2=y + 12, class_="bridge"))
        for run in runs:
            shapes += _box(executed, part, run, y, colours)
        yield mark(_tip(executed, part), shapes, first=place == 0)


def _columns(executed: Executed, part: ExecutedPart) -> set[int]:
    """Return the columns that a part covers, with those between its boxes."""
    places = [executed.tasks.index(task) for task in part.tasks]
    return set(range(min(places), max(places) + 1))


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
