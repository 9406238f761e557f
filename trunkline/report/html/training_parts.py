"""What a page shows of a training: losses, metrics of its evaluations, and predictions beside what is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from trunkline.report.evaluation_picture import draw_evaluations, evaluations_by_task
from trunkline.report.html.data_uri import drawn_uri, image_uri
from trunkline.report.html.page import Figures, Part, Picture
from trunkline.report.loss_picture import draw_losses, losses_by_phase
from trunkline.report.tables import Table

Json = Mapping[str, Any]
_MOST_STEPS = 20
"""Rows of a phase in the table of losses; the picture has all."""


def curve_parts(records: Sequence[Json]) -> list[Part]:
    """Return the curves of losses and of evaluations over the phases of a run."""
    parts: list[Part] = []
    losses = drawn_uri(partial(draw_losses, records))
    if losses is not None:
        phases = losses_by_phase(records)
        text = f"Losses of the batches, a panel for each phase; strong lines are smoothed. {_ends(phases)}"
        parts.append(Picture("Losses", text, losses, _losses(phases)))
    series = evaluations_by_task(records)
    if series:
        table = _evaluations(series)
        picture = drawn_uri(partial(draw_evaluations, series))
        if picture is None:  # one evaluation a phase makes no curve
            return [*parts, Figures(table, folded=True)]
        text = "The first metric of each task in the evaluations while it was trained, one line a phase."
        parts.append(Picture("Metrics of the evaluations", text, picture, table))
    return parts


def predictions_part(path: Path, tasks: Sequence[str]) -> Picture | None:
    """Return the picture of predictions on test images, where the run has drawn it."""
    if not path.is_file():
        return None
    columns = "; ".join(f"{task}: what is true, then what the model predicts" for task in tasks)
    text = f"Each row is a test image. From left to right: the image; {columns}."
    return Picture("Predictions beside what is true", text, image_uri(path))


def _ends(phases: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]) -> str:
    said = []
    for phase, by_task in phases.items():
        tasks = ", ".join(f"{task} {points[0][1]:.3g} to {points[-1][1]:.3g}" for task, points in by_task.items())
        said.append(f"{phase}: {tasks}")
    return "First and last: " + "; ".join(said) + "."


def _losses(phases: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]) -> Table:
    tasks = list(dict.fromkeys(task for by_task in phases.values() for task in by_task))
    rows = []
    for phase, by_task in phases.items():
        steps = sorted({step for points in by_task.values() for step, _ in points})
        every = max(1, -(-len(steps) // _MOST_STEPS))
        values = {task: dict(points) for task, points in by_task.items()}
        # Backwards, so that the last step is there.
        for step in sorted(steps[::-1][::every]):
            cells = (values.get(task, {}).get(step) for task in tasks)
            rows.append((phase, str(step), *("–" if value is None else f"{value:.4g}" for value in cells)))
    return Table("Losses of the batches", ("phase", "step", *tasks), tuple(rows))


def _evaluations(series: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]]) -> Table:
    rows = [
        (name, phase, str(step), f"{value:.4g}")
        for name, by_phase in series.items()
        for phase, points in by_phase.items()
        for step, value in points
    ]
    return Table("Metrics of the evaluations", ("metric", "phase", "step", "value"), tuple(rows))
