"""The first table of a page: every model of every chapter, by accuracy, latency and size."""

from __future__ import annotations

from collections.abc import Sequence

from trunkline.report.html.page import Chapter, Model
from trunkline.report.tables import UNSTABLE, Table

_COLUMNS = (
    *("model", "Δ mean (%)", "p50 (ms)", "speed-up", "MACs, share", "file (MB)"),
    *("format", "runs on", "from"),
)


def overview(chapters: Sequence[Chapter]) -> Table | None:
    """Return the table; nothing where no chapter has a model. Columns that say nothing of any model are left out."""
    models = [(chapter.title, model) for chapter in chapters for model in chapter.models]
    if not models:
        return None
    rows = [_row(title, model) for title, model in models]
    kept = [place for place in range(len(_COLUMNS)) if place == 0 or any(row[place] != "–" for row in rows)]
    if len(chapters) == 1:  # there is nothing to tell apart
        kept.remove(len(_COLUMNS) - 1)
    shown = tuple(tuple(row[place] for place in kept) for row in rows)
    notes = _notes([model for _, model in models], chapters)
    columns = tuple(_COLUMNS[place] for place in kept)
    return Table("All models: accuracy, latency and size", columns, shown, tuple(notes))


def _row(title: str, model: Model) -> tuple[str, ...]:
    mark = "" if model.stable else f" {UNSTABLE}"
    size = "–" if model.file_bytes is None else f"{model.file_bytes / 1e6:.2f}"
    share = "–" if model.macs_share is None else f"{model.macs_share:.3f}"
    return (
        model.name,
        _change(model),
        "–" if model.latency_ms is None else f"{model.latency_ms:.2f}{_interval(model)}{mark}",
        "–" if model.speed_up is None else f"{model.speed_up:.2f}{mark}",
        share,
        size,
        model.form,
        model.where,
        title,
    )


def _change(model: Model) -> str:
    if model.change is None:
        return "–"
    low, high = model.change_ends or (0.0, 0.0)
    ends = f" ± {(high - low) / 2:.2f}" if high > low else ""
    return f"{model.change:+.2f}{ends}" + ("" if model.alike else " (not alike)")


def _interval(model: Model) -> str:
    if model.latency_ends is None:
        return ""
    # Not as a margin: what is above a median may reach further than what is below.
    return f" [{model.latency_ends[0]:.2f}, {model.latency_ends[1]:.2f}]"


def _notes(models: Sequence[Model], chapters: Sequence[Chapter]) -> list[str]:
    notes = []
    if any(model.change is not None for model in models):
        notes.append("Δ: mean change over metrics, in percent, against single-task models; more is better.")
    if any(not model.alike and model.change is not None for model in models):
        notes.append("Not alike: it was trained in another way than the others, so its Δ is not due to sharing alone.")
    if any(model.latency_ms is not None for model in models):
        notes.append("p50: median latency of one image, and its 99 % interval.")
    if any(not model.stable for model in models):
        notes.append(f"{UNSTABLE} the latency was not steady; do not rely on it.")
    notes += dict.fromkeys(f"{model.name}: {model.note}" for model in models if model.note)
    timed = [chapter for chapter in chapters if any(model.latency_ms is not None for model in chapter.models)]
    if len(timed) > 1:
        notes.append("Latencies of different sources were measured at different times, perhaps on different devices.")
    return notes
