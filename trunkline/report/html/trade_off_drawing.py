"""Accuracy against cost as a drawing whose points tell their numbers, by pointer or keyboard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from trunkline.report.front_picture import FrontMark, front_of, limits_of
from trunkline.report.html.page import Drawing, Legend
from trunkline.report.html.svg import drawing, element, mark
from trunkline.report.style import SHARED, TASKS, short
from trunkline.report.tables import UNSTABLE, Table

_WIDTH, _HEIGHT = 1000, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 30, 16, 52
_FOUND = TASKS[0]
_FEW = 10
"""Up to so many points have their names beside them; more have numbers, which the table below explains."""


def trade_off_drawing(title: str, marks: Sequence[FrontMark], axis: str) -> Drawing | None:
    """Return the drawing of Δ against what ``axis`` says; ``None`` where there is nothing to draw.

    A point that is not steady is hollow; one that was not trained alike is a square, and on no front.
    """
    if not marks:
        return None
    scale = _Scale(marks)
    numbered = list(enumerate(marks, start=1))
    front = front_of(marks)
    shapes = [*_axes(scale, axis), *_front(scale, front)]
    # The cheapest first, so that arrow keys walk from left to right.
    in_order = sorted(numbered, key=lambda pair: pair[1].cost)
    labelled = _labelled(scale, numbered, front)
    for place, (number, point) in enumerate(in_order):
        text = (short(point.name) if len(marks) <= _FEW else str(number)) if number in labelled else ""
        shapes.append(mark(_tip(number, point, axis, len(marks)), _point(scale, point, text), first=place == 0))
    label = f"{title}: {len(marks)} points; arrow keys walk through them"
    legend = [Legend(SHARED, "cut by hand, or nothing or everything shared"), Legend(_FOUND, "found by a method")]
    return Drawing(
        title,
        _text(marks, front, axis),
        drawing(_WIDTH, _HEIGHT, label, shapes),
        _table(title, numbered, front, axis),
        tuple(legend),
    )


class _Scale:
    """Where numbers stand in the drawing.

    Args:
        marks: What is drawn.
    """

    def __init__(self, marks: Sequence[FrontMark]) -> None:
        costs = [end for each in marks for end in (*each.cost_ends, each.cost)]
        self.low, self.high = limits_of(marks)
        heights = [min(max(end, self.low), self.high) for each in marks for end in each.change_ends]
        self.x_ticks = _ticks(min(costs), max(costs))
        self.y_ticks = _ticks(min([0.0, self.low, *heights]), max([0.0, self.high, *heights]))

    def x(self, cost: float) -> float:
        start, end = self.x_ticks[0], self.x_ticks[-1]
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (cost - start) / (end - start)

    def y(self, change: float) -> float:
        start, end = self.y_ticks[0], self.y_ticks[-1]
        inside = min(max(change, start), end)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (inside - start) / (end - start)

    def is_outside(self, change: float) -> bool:
        return not self.low <= change <= self.high


def _ticks(low: float, high: float) -> list[float]:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    air = 0.04 * max(high - low, 1e-3 * max(abs(high), abs(low), 1.0))
    with np.errstate(all="ignore"):
        found = MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]).tick_values(low - air, high + air)
    if len(found) < 2 or not np.isfinite(found).all():
        raise ValueError(f"{low} to {high} cannot be drawn")
    return [float(value) for value in found]


def _axes(scale: _Scale, axis: str) -> Iterator[Markup]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value in scale.y_ticks:
        y = scale.y(value)
        kind = "zero" if value == 0 else "grid"
        yield element("line", x1=_LEFT, x2=right, y1=y, y2=y, class_=kind)
        yield element("text", f"{value + 0.0:+g}", x=_LEFT - 8, y=y + 4, class_="small faint", text_anchor="end")
    for value in scale.x_ticks:
        x = scale.x(value)
        yield element("line", x1=x, x2=x, y1=bottom, y2=bottom + 5, class_="zero")
        yield element("text", f"{value:g}", x=x, y=bottom + 20, class_="small faint", text_anchor="middle")
    yield element("text", axis, x=(_LEFT + right) / 2, y=_HEIGHT - 10, class_="small", text_anchor="middle")
    turn = f"translate(16 {(_TOP + bottom) / 2:.0f}) rotate(-90)"
    yield element("text", "Δ mean against single-task models (%)", transform=turn, class_="small", text_anchor="middle")


def _front(scale: _Scale, front: Sequence[FrontMark]) -> Iterator[Markup]:
    points = " ".join(f"{scale.x(each.cost):.1f},{scale.y(each.change):.1f}" for each in front)
    yield element("polyline", points=points, class_="front")


def _point(scale: _Scale, point: FrontMark, text: str) -> Iterator[Markup]:
    x, y = scale.x(point.cost), scale.y(point.change)
    colour = SHARED if point.is_cut else _FOUND
    low, high = point.change_ends
    yield element("line", x1=x, x2=x, y1=scale.y(low), y2=scale.y(high), stroke=colour)
    left, right = scale.x(point.cost_ends[0]), scale.x(point.cost_ends[1])
    yield element("line", x1=left, x2=right, y1=y, y2=y, stroke=colour)
    filling = {"stroke": colour, "fill": colour} if point.steady else {"stroke": colour, "class_": "hollow"}
    if scale.is_outside(point.change):
        sign = 1 if point.change < scale.low else -1
        corners = f"{x - 7:.1f},{y - 6 * sign:.1f} {x + 7:.1f},{y - 6 * sign:.1f} {x:.1f},{y + 7 * sign:.1f}"
        yield element("polygon", points=corners, **filling)
    elif point.alike:
        yield element("circle", cx=x, cy=y, r=6.5, **filling)
    else:
        yield element("rect", x=x - 6, y=y - 6, width=12, height=12, **filling)
    # To the left where the right edge is near.
    is_near = x > _WIDTH - 150
    side, shift = ("end", -10) if is_near else ("start", 10)
    yield element("text", text, x=x + shift, y=y - 7, class_="small", text_anchor=side)


def _labelled(
    scale: _Scale, numbered: Sequence[tuple[int, FrontMark]], front: Sequence[FrontMark]
) -> dict[int, tuple[float, float]]:
    """Return which points have their label beside them: those whose label would stand on no other, the front first."""
    if len(numbered) <= _FEW:
        return {number: (0.0, 0.0) for number, _ in numbered}
    on_front = {id(point) for point in front}
    placed: dict[int, tuple[float, float]] = {}
    for number, point in sorted(numbered, key=lambda pair: id(pair[1]) not in on_front):
        x, y = scale.x(point.cost), scale.y(point.change)
        if all(abs(x - other) > 18 or abs(y - height) > 11 for other, height in placed.values()):
            placed[number] = (x, y)
    return placed


def _tip(number: int, point: FrontMark, axis: str, count: int) -> str:
    name = short(point.name) if count <= _FEW else f"{number}: {short(point.name)}"
    low, high = point.change_ends
    change = f"Δ {point.change:+.2f} %" + (f" [{low:+.2f}, {high:+.2f}]" if low != high else "")
    notes = [] if point.alike else ["not trained alike"]
    notes += [] if point.steady else ["latency not steady"]
    return "; ".join([name, f"{axis}: {point.cost:.3g}", change, *notes])


def _text(marks: Sequence[FrontMark], front: Sequence[FrontMark], axis: str) -> str:
    names = ", ".join(short(each.name) for each in front)
    text = f"Δ mean in percent against {axis}: up and to the left is better."
    if names:
        text += f" On the line, from the cheapest on, is what no other beats in both: {names}."
    if not all(each.alike for each in marks):
        text += " Squares were not trained like the others, and are not on the line."
    if not all(each.steady for each in marks):
        text += " The latency of hollow points was not steady."
    return text


def _table(title: str, marks: Sequence[tuple[int, FrontMark]], front: Sequence[FrontMark], axis: str) -> Table:
    on_front = {id(each) for each in front}
    rows = []
    for number, each in marks:
        low, high = each.change_ends
        mark_of = "" if each.steady else f" {UNSTABLE}"
        rows.append(
            (
                short(each.name),
                str(number),
                f"{each.cost:.4g}{mark_of}",
                f"{each.change:+.2f}" + ("" if each.alike else " (not alike)"),
                f"{low:+.2f} – {high:+.2f}" if low != high else "–",
                "yes" if id(each) in on_front else "no",
            )
        )
    columns = ("model", "number", axis, "Δ mean (%)", "95 % interval (%)", "on the front")
    notes = () if all(each.steady for _, each in marks) else (f"{UNSTABLE} the latency was not steady.",)
    return Table(title, columns, tuple(rows), notes)
