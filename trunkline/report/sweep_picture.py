"""Latency and work of the models that share their first blocks, from N models to one for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.report.style import INK, SHARED, figure, height_of_names, name_units, width_of


@dataclass(frozen=True, slots=True)
class SweepMark:
    """A model in the picture.

    Attributes:
        shared: How many blocks it shares.
        block: The last of them; empty where there is none.
        latency_ms: What it takes.
        macs_share: Its work, as a share of N models.
        steady: Whether its latency can be relied on.
    """

    shared: int
    block: str
    latency_ms: float
    macs_share: float
    steady: bool


def draw_sweep(marks: Sequence[SweepMark], path: Path) -> None:
    """Draw the times as a curve with marks, and where they would be if time followed work.

    Args:
        marks: From nothing shared to everything.
        path: The PNG file.
    """
    names = ["nothing", *(mark.block for mark in marks[1:])]
    alone = marks[0].latency_ms
    with figure(width_of(len(marks)), 3.0 + height_of_names(names), path) as drawn:
        axes = drawn.add_subplot()
        places = [mark.shared for mark in marks]
        work = [alone * mark.macs_share for mark in marks]
        axes.plot(places, work, color=INK, linestyle=":", linewidth=1.0, label="N models' time × share of MACs")
        axes.plot(places, [mark.latency_ms for mark in marks], color=SHARED, linewidth=1.6, label="measured")
        for mark in marks:
            # A latency that was not steady is hollow.
            fill = SHARED if mark.steady else "white"
            axes.scatter([mark.shared], [mark.latency_ms], s=28, edgecolors=SHARED, facecolors=fill, zorder=3)
        name_units(axes, names)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("latency, median (ms)", fontsize=8)
        axes.set_xlabel("last shared block", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title("What sharing up to a block saves", fontsize=10, loc="left")
        axes.legend(fontsize=7, frameon=False)
