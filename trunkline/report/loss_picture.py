"""The losses of a run over its phases."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trunkline.report.style import figure, plain, task_colour

SMOOTHING = 0.9


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a ``metrics.jsonl``; a torn last line, as a kill leaves it, is passed over."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                # What a kill leaves of the last line; resuming drops it.
                continue
            if isinstance(record, dict):
                yield record


def losses_by_phase(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return ``phase → task → [(step, loss)]`` in the order of the records."""
    # A non-finite loss is written as null, which no line can show.
    series: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for record in records:
        for task, loss in (record.get("losses") or {}).items():
            if isinstance(loss, int | float):
                phase = series.setdefault(str(record.get("phase", "")), {})
                phase.setdefault(task, []).append((int(record.get("step", 0)), float(loss)))
    return series


def draw_losses(records: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw the losses, one panel a phase, and return whether there was anything to draw."""
    series = losses_by_phase(records)
    if not series:
        return False
    # In the order of their first records, so that a task has one colour in all panels.
    tasks = list(dict.fromkeys(task for phase in series.values() for task in phase))
    with figure(max(6.0, 3.6 * len(series)), 3.0, path) as drawn:
        panels = drawn.subplots(1, len(series), squeeze=False)[0]
        for axes, (phase, by_task) in zip(panels, series.items(), strict=True):
            for index, task in enumerate(tasks):
                if task in by_task:
                    steps, losses = zip(*by_task[task], strict=True)
                    axes.plot(steps, losses, color=task_colour(index), alpha=0.25, linewidth=0.8)
                    axes.plot(steps, _smooth(losses), color=task_colour(index), linewidth=1.4, label=plain(task))
            axes.set_title(plain(phase), fontsize=10, loc="left")
            axes.set_xlabel("step", fontsize=8)
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
            # A logarithmic axis drops what is not positive, as the loss of a likelihood may be.
            if all(loss > 0 for points in by_task.values() for _, loss in points):
                axes.set_yscale("log")
        panels[0].set_ylabel("loss", fontsize=8)
        panels[-1].legend(fontsize=7, frameon=False)
    return True


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the exponential running mean, without the start's pull towards zero."""
    smoothed, total, weight = [], 0.0, 0.0
    for value in values:
        total = SMOOTHING * total + (1 - SMOOTHING) * value
        # The weights of all values so far; dividing by their sum corrects the start, as in Adam (Kingma & Ba 2015).
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smoothed.append(total / weight)
    return smoothed
