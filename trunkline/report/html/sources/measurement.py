"""A JSON file of a measurement, made anywhere: of `bench --json`, of `sweep --json`, or the `bench.json` of a run.

Only ``models[].name`` and ``models[].p50_ms`` must be there, so that a small program on another device can write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from trunkline.report.against_table import against_table
from trunkline.report.html.page import Chapter, Figures, Listing, Model, Part, Section
from trunkline.report.html.run_models import device_of, models_of_bench
from trunkline.report.html.sources.base import ReportSource, content_of
from trunkline.report.run_files import in_form
from trunkline.report.tables import UNSTABLE, Table, machine_notes

Json = Mapping[str, Any]
_KEYS = {"models", "measurements", "bench"}


class MeasurementSource(ReportSource):
    """A measurement that was made elsewhere."""

    name: ClassVar[str] = "measurement"
    expected: ClassVar[str] = "a JSON file of a measurement, as `trunkline bench --json` prints it"

    @classmethod
    def takes(cls, path: Path) -> bool:
        """Return whether it is a file with models, or with measurements of some."""
        return not content_of(path).keys().isdisjoint(_KEYS)

    @classmethod
    def read(cls, path: Path, title: str) -> Chapter:
        """Return the chapter of a measurement."""
        content = content_of(path)
        with in_form(path):
            return _chapter(_measurements(content), path, title)


def _measurements(content: Json) -> list[Json]:
    """Return the measurements of a file: it is one, has one as ``bench``, or several as ``measurements``."""
    if "measurements" in content:
        return list(content["measurements"])
    return [content.get("bench", content)]


def _chapter(measurements: Sequence[Json], path: Path, title: str) -> Chapter:
    models = tuple(row for each in measurements for row in models_of_bench(each))
    devices = ", ".join(dict.fromkeys(device_of(each) for each in measurements))
    shown = [table for each in measurements for table in (_table(each), against_table(each)) if table is not None]
    tables: list[Part] = [Figures(table) for table in shown]
    conditions: list[Part] = [Listing("Settings and environment", tuple(_lines(each))) for each in measurements]
    sections = (Section("Latency", tuple(tables)), Section("How this was measured", tuple(conditions)))
    said = tuple(_summary(models, devices))
    return Chapter(title, MeasurementSource.name, str(path), said, sections, models, {"measured on": devices})


def _summary(models: Sequence[Model], devices: str) -> Iterator[str]:
    yield f"{len(models)} model{'' if len(models) == 1 else 's'} measured on {devices}."
    steady = [model for model in models if model.stable and model.latency_ms is not None]
    if steady:
        best = min(steady, key=lambda model: model.latency_ms or 0.0)
        yield f"The fastest takes {best.latency_ms:.2f} ms (median): {best.name}."
    if len(steady) < len(models):
        unsteady = len(models) - len(steady)
        were = (
            "1 measurement was not steady; it is"
            if unsteady == 1
            else f"{unsteady} measurements were not steady; they are"
        )
        yield f"{were} marked with {UNSTABLE}."


def _table(bench: Json) -> Table:
    rows, notes = [], []
    for model, row in zip(bench["models"], models_of_bench(bench), strict=True):
        steady = "" if row.stable else f" {UNSTABLE}"
        ends = row.latency_ends
        rows.append(
            (
                row.name,
                f"{row.latency_ms:.2f}{steady}",
                f"{ends[0]:.2f} – {ends[1]:.2f}{steady}" if ends else "–",
                _number(model.get("p90_ms")),
                _number(model.get("p99_ms")),
                _number(row.speed_up, steady),
                str(model.get("samples", "–")),
                row.where,
            )
        )
        if not row.stable:
            notes.append(f"{UNSTABLE} {row.name} is unstable: {model.get('reason') or 'no reason is given'}")
    notes += machine_notes(bench)
    columns = ("model", "p50 (ms)", "99 % interval (ms)", "p90 (ms)", "p99 (ms)", "speed-up", "samples", "runs on")
    return Table("Latency", columns, tuple(rows), tuple(notes))


def _number(value: float | None, mark: str = "") -> str:
    return "–" if value is None else f"{value:.2f}{mark}"


def _lines(bench: Json) -> Iterator[str]:
    for name in ("settings", "environment", "device"):
        for key, value in (bench.get(name) or {}).items():
            pairs = value.items() if isinstance(value, Mapping) else ()
            yield f"{name} {key}: {', '.join(f'{each} {found}' for each, found in pairs) or value}"
    regions = dict.fromkeys(str(model["region"]) for model in bench["models"] if model.get("region"))
    yield from (f"timed: {region}" for region in regions)
