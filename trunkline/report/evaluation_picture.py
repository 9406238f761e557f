"""The metrics of a run's evaluations over its phases: how good each task was, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trunkline.report.style import figure, plain, task_colour

Series = dict[str, dict[str, list[tuple[int, float]]]]
_MOST_PANELS = 12


def first_metrics(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the first metric of each task, which is the one it is best known by."""
    found: dict[str, str] = {}
    for record in records:
        if record.get("kind") == "evaluation":
            for task, metrics in record["metrics"].items():
                found.setdefault(task, next(iter(metrics), ""))
    return {task: metric for task, metric in found.items() if metric}


def evaluations_by_task(records: Sequence[Mapping[str, Any]]) -> Series:
    """Return ``task: metric → phase → [(step, value)]`` of each task's first metric; unknown values are left out."""
    series: Series = {}
    metrics = first_metrics(records)
    for record in records:
        if record.get("kind") != "evaluation":
            continue
        for task, metric in metrics.items():
            value = record["metrics"].get(task, {}).get(metric)
            if value is not None:
                by_phase = series.setdefault(f"{task}: {metric}", {})
                by_phase.setdefault(str(record["phase"]), []).append((int(record["step"]), float(value)))
    return series


def draw_evaluations(series: Series, path: Path) -> bool:
    """Draw a panel for each task, a line for each phase; return whether any phase was evaluated twice."""
    shown = dict(list(series.items())[:_MOST_PANELS])
    if not any(len(points) > 1 for by_phase in shown.values() for points in by_phase.values()):
        return False
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    phases = list(dict.fromkeys(phase for by_phase in shown.values() for phase in by_phase))
    with figure(max(6.0, 3.0 * columns), 2.4 * rows, path) as drawn:
        panels = drawn.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, by_phase) in zip(panels, shown.items(), strict=False):
            for phase, points in by_phase.items():
                steps, values = zip(*points, strict=True)
                colour = task_colour(phases.index(phase))
                axes.plot(steps, values, color=colour, marker="o", markersize=3, label=plain(phase))
            axes.set_title(plain(name), fontsize=9, loc="left")
            axes.set_xlabel("step", fontsize=8)
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        panels[0].legend(fontsize=7, frameon=False)
    return True
