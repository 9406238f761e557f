"""Measured over predicted latencies of layouts: on the line, the cost table says what they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.report.style import INK, SHARED, figure

_INCHES = 4.6


@dataclass(frozen=True, slots=True)
class LayoutMark:
    """A layout in the picture.

    Attributes:
        predicted_ms: What it was to take.
        measured_ms: What it took.
        ends_ms: Interval of that.
        steady: Whether that can be relied on.
    """

    predicted_ms: float
    measured_ms: float
    ends_ms: tuple[float, float]
    steady: bool


def draw_profile(marks: Sequence[LayoutMark], path: Path) -> None:
    """Draw each layout as a mark with its interval; one that was not steady is hollow.

    Args:
        marks: The layouts.
        path: The PNG file.
    """
    with figure(_INCHES, _INCHES, path) as drawn:
        axes = drawn.add_subplot()
        for mark in marks:
            axes.plot([mark.predicted_ms] * 2, mark.ends_ms, color=SHARED, linewidth=1.0)
            fill = SHARED if mark.steady else "white"
            axes.scatter([mark.predicted_ms], [mark.measured_ms], s=18, edgecolors=SHARED, facecolors=fill, zorder=3)
        most = max([0.0, *(max(mark.predicted_ms, mark.measured_ms) for mark in marks)])
        axes.plot([0, most], [0, most], color=INK, linestyle=":", linewidth=1.0)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("predicted by the cost table (ms)", fontsize=8)
        axes.set_ylabel("measured, median and 99 % interval (ms)", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title("Latency of layouts drawn by chance", fontsize=10, loc="left")
