"""The whole trade-off in one table and one picture: what each way of sharing costs in accuracy, and what it saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.report.style import INK, SHARED, figure, plain, task_colour
from trunkline.report.tables import UNSTABLE, Table, mark_of_ratio, unstable, unstable_notes

Json = Mapping[str, Any]

SINGLE_TASK, FOUND = "single-task", "model"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of sharing, trained and measured.

    Attributes:
        name: Its name in the measurement.
        change: Mean Δ in percent against single-task models.
        changes: Δ in percent, by task.
        alike: Whether it was trained as the single-task models were.
        latency: Its row of the measurement.
    """

    name: str
    change: float
    changes: Mapping[str, float]
    alike: bool
    latency: Json

    @property
    def interval_ms(self) -> tuple[float, float]:
        """The 99 % interval of the median latency."""
        low, high = self.latency["p50_ci_ms"]
        return low, high


def ways(models: Sequence[Json], deltas: Mapping[str, Mapping[str, float]], bench: Json) -> list[Way]:
    """Return what was both trained and measured, in the order of the measurement; nothing without Δ."""
    trained = {model["name"]: model for model in models}
    changes = dict(deltas)
    if not changes:
        return []
    # The single-task models are what Δ is against, so theirs is 0 and in no file.
    changes[SINGLE_TASK] = dict.fromkeys(next(iter(changes.values())), 0.0)
    found = []
    for latency in bench["models"]:
        name = latency["name"]
        if name in trained and name in changes:
            row = {task: change for task, change in changes[name].items() if task != "mean"}
            found.append(Way(name, changes[name]["mean"], row, trained[name]["alike"], latency))
    return found


def trade_off_table(found: Sequence[Way], bench: Json) -> Table:
    """Return Δ next to MACs, latency and speed-up, one row for each way of sharing."""
    reasons, first = unstable(bench), bench["models"][0]["name"]
    rows = [_row(way, first, bench) for way in found]
    changes = [f"Δ {task} (%)" for task in found[0].changes]
    columns = ("model", "MACs", "p50 (ms)", "speed-up", *changes, "Δ mean (%)")
    title = "What sharing saves, and what it costs, against single-task models"
    return Table(title, columns, tuple(rows), tuple(unstable_notes(first, reasons)))


def _row(way: Way, first: str, bench: Json) -> tuple[str, ...]:
    # The first model has no ratio against itself: its speed-up is 1.
    speed_ups = {ratio["name"]: ratio["speed_up"] for ratio in bench["ratios"]}
    time_mark = f" {UNSTABLE}" if way.name in unstable(bench) else ""
    macs = way.latency["macs_ratio"]
    return (
        way.name,
        "–" if macs is None else f"{macs:.3f}",
        f"{way.latency['p50_ms']:.2f}{time_mark}",
        f"{speed_ups.get(way.name, 1.0):.2f}{mark_of_ratio(way.name, first, bench)}",
        *(f"{change:+.2f}" for change in way.changes.values()),
        f"{way.change:+.2f}" if way.alike else f"{way.change:+.2f} (not alike)",
    )


def draw_trade_off(found: Sequence[Way], bench: Json, path: Path) -> None:
    """Draw Δ against milliseconds: up is more accurate, left is faster; a latency that is not steady is hollow."""
    reasons = unstable(bench)
    with figure(6.4, 3.6, path) as drawn:
        axes = drawn.add_subplot()
        axes.axhline(0.0, color=INK, linewidth=0.6, linestyle=":")
        for way in found:
            colour = task_colour(0) if way.name == FOUND else SHARED
            fill = "none" if way.name in reasons else colour
            x, (low, high) = way.latency["p50_ms"], way.interval_ms
            axes.hlines(way.change, low, high, color=colour, linewidth=1.0)
            axes.scatter([x], [way.change], s=36, edgecolors=colour, facecolors=fill, zorder=3)
            # A name stands to the right of its point, or, where it would run into another point, to the left.
            side, shift = ("right", -5) if _is_crowded(way, found) else ("left", 5)
            place = (shift, 5)
            axes.annotate(plain(way.name), (x, way.change), place, textcoords="offset points", fontsize=8, ha=side)
        axes.set_xlabel("latency, median and 99 % interval (ms)", fontsize=8)
        axes.set_ylabel("Δ mean against single-task (%)", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.margins(x=0.18, y=0.18)
        axes.spines[["top", "right"]].set_visible(False)
        note = "; hollow: not steady" if reasons else ""
        axes.set_title(f"Accuracy against latency: up and left is better{note}", fontsize=10, loc="left")


def _is_crowded(way: Way, found: Sequence[Way]) -> bool:
    """Whether another point lies where the name would stand: within an eighth of the picture to the right."""
    times, changes = [other.latency["p50_ms"] for other in found], [other.change for other in found]
    wide, high = max(times) - min(times), max(changes) - min(changes)
    return any(
        0 < time - way.latency["p50_ms"] < wide / 8 and abs(change - way.change) < high / 8
        for time, change in zip(times, changes, strict=True)
    )
