"""Δ of every way of sharing against what it costs, and the front: those that nothing else beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trunkline.report.style import INK, SHARED, figure, plain, short, task_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = Mapping[str, Any]
CUTS = ("single-task", "multi-task", "share-until")
"""Methods that share everything up to a point, made by hand: nothing, all, or what lies before a block."""


@dataclass(frozen=True, slots=True)
class FrontAxis:
    """What Δ is drawn against.

    Attributes:
        key: Its key in the summary of a way of sharing.
        label: What stands along the axis.
        title: What stands above the picture.
    """

    key: str
    label: str
    title: str


AXES = {
    "latency": FrontAxis("latency_ms", "latency, median (ms)", "Accuracy against latency: up and left is better"),
    "macs": FrontAxis("macs_share", "MACs, share of one model a task", "Accuracy against work: up and left is better"),
}


@dataclass(frozen=True, slots=True)
class FrontMark:
    """A way of sharing in the picture, as means over seeds.

    Attributes:
        name: Its name.
        cost: Where it stands along the axis.
        cost_ends: The smallest and the largest of its seeds: searches with other seeds find other plans.
        change: Mean Δ in percent.
        change_ends: Interval of ``change`` at 95 %.
        is_cut: Whether it is made by hand: everything up to a point is shared.
        steady: Whether its latency can be relied on.
        alike: Whether its training was that of the others. Other steps, or a teacher, are not sharing.
    """

    name: str
    cost: float
    cost_ends: tuple[float, float]
    change: float
    change_ends: tuple[float, float]
    is_cut: bool
    steady: bool
    alike: bool = True


def marks_of(methods: Sequence[Json], key: str) -> list[FrontMark]:
    """Return what has both Δ and a cost."""
    found = []
    for method in methods:
        cost, change = method[key], method["delta"] and method["delta"]["mean"]
        if not cost or not change or cost["mean"] is None or change["mean"] is None:
            continue
        low, high = cost["least"], cost["most"]
        is_cut, steady = method["decided_by"] in CUTS, method["stable"] is not False
        name, place, height = method["method"], cost["mean"], change["mean"]
        alike = bool(method["alike"])
        found.append(FrontMark(name, place, (low, high), height, _ends(change), is_cut, steady, alike))
    return found


def front_of(marks: Sequence[FrontMark]) -> list[FrontMark]:
    """Return the marks that no other one beats, or equals in one and beats in the other; the cheapest first.

    What was trained in another way than the others is no part of it, and beats nothing.

    >>> a = FrontMark("a", 1.0, (1.0, 1.0), -5.0, (-5.0, -5.0), False, True)
    >>> b = FrontMark("b", 2.0, (2.0, 2.0), -6.0, (-6.0, -6.0), False, True)
    >>> [mark.name for mark in front_of([b, a])]
    ['a']
    """
    best: list[FrontMark] = []
    # Of those with equal cost the best comes first, so that the others do not reach the front.
    for mark in sorted(_alike(marks), key=lambda mark: (mark.cost, -mark.change)):
        if not best or mark.change > best[-1].change:
            best.append(mark)
    return best


def _alike(marks: Sequence[FrontMark]) -> list[FrontMark]:
    return [mark for mark in marks if mark.alike]


def limits_of(marks: Sequence[FrontMark]) -> tuple[float, float]:
    """Return the lowest and the highest Δ that are drawn where they stand.

    One model that learned nothing has a Δ of thousands of percent, beside which all others would be one point. So what
    lies further outside the middle half of all than four times its width is drawn at the edge.

    >>> marks = [FrontMark("", 1.0, (1, 1), change, (0, 0), False, True) for change in (-9000.0, -8.0, -4.0, -2.0, 0.0)]
    >>> limits_of(marks)
    (-32.0, 0.0)
    """
    changes = [mark.change for mark in marks]
    low, high = np.quantile(changes, [0.25, 0.75])
    reach = 4 * max(high - low, 1.0)
    return max(min(changes), float(low - reach)), min(max(changes), float(high + reach))


def draw_front(methods: Sequence[Json], axis: FrontAxis, path: Path) -> bool:
    """Draw the picture; return whether there was something to draw.

    Each way of sharing is a number in a disc, with the interval of its Δ and the range of its cost; a legend says which
    is which. Hand-made cuts are joined by a thin line, the front by a thick one. What was not trained like the others
    is a square, and on no line. A latency that was not steady is hollow. What lies far outside all others is a triangle
    at the edge, with its Δ in the legend.
    """
    marks = marks_of(methods, axis.key)
    if not marks:
        return False
    height = max(3.6, 0.19 * len(marks) + 0.8)
    with figure(8.4, height, path) as drawn:
        axes = drawn.add_subplot()
        axes.axhline(0.0, color=INK, linewidth=0.6, linestyle=":")
        cuts = sorted((mark for mark in _alike(marks) if mark.is_cut), key=lambda mark: mark.cost)
        axes.plot([mark.cost for mark in cuts], [mark.change for mark in cuts], color=SHARED, linewidth=0.8, zorder=1)
        front = front_of(marks)
        axes.plot([mark.cost for mark in front], [mark.change for mark in front], color=INK, linewidth=1.6, zorder=1)
        limits = limits_of(marks)
        for number, mark in enumerate(marks, start=1):
            _draw_mark(axes, mark, number, limits)
        air = 0.08 * max(limits[1] - limits[0], 1.0)
        axes.set_ylim(limits[0] - air, limits[1] + air)
        axes.set_xlabel(axis.label, fontsize=8)
        axes.set_ylabel("Δ mean against single-task, 95 % interval (%)", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.margins(x=0.06)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(axis.title, fontsize=10, loc="left")
        note = None if all(mark.alike for mark in marks) else "squares: not trained alike"
        place = (1.0, 0.5)
        axes.legend(
            loc="center left",
            bbox_to_anchor=place,
            fontsize=7,
            frameon=False,
            handlelength=1.2,
            title=note,
            title_fontsize=7,
        )
    return True


def _draw_mark(axes: Axes, mark: FrontMark, number: int, limits: tuple[float, float]) -> None:
    colour = SHARED if mark.is_cut else task_colour(number)
    height = min(max(mark.change, limits[0]), limits[1])
    axes.hlines(height, *mark.cost_ends, color=colour, linewidth=0.8, zorder=2)
    axes.vlines(mark.cost, *mark.change_ends, color=colour, linewidth=0.8, zorder=2)
    fill = colour if mark.steady else "white"
    form, value = ("o" if mark.alike else "s"), ""
    if height != mark.change:
        form, value = ("v" if mark.change < height else "^"), f" ({mark.change:+,.0f} %)"
    label = plain(f"{number}  {short(mark.name)}{value}")
    axes.scatter([mark.cost], [height], s=90, marker=form, edgecolors=colour, facecolors=fill, zorder=3, label=label)
    ink = "white" if mark.steady else colour
    place = (mark.cost, height)
    axes.annotate(str(number), place, ha="center", va="center", fontsize=6, color=ink, zorder=4)


def _ends(mean: Json) -> tuple[float, float]:
    """Return the interval of a mean; of one seed the mean itself."""
    low, high = mean["low"], mean["high"]
    if low is None or high is None:
        return mean["mean"], mean["mean"]
    return low, high
