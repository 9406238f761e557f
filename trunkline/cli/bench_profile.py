"""``trunkline bench --profile``: a cost table, and how well it predicts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trunkline.bench.runtimes.registry import runtime_class
from trunkline.bench.settings import Settings
from trunkline.cli.bench_bar import bench_bar
from trunkline.cli.console import emit, emit_json, emit_table
from trunkline.cli.tasks_argument import parse_tasks
from trunkline.errors import InvalidConfig
from trunkline.ingest.read_options import ReadOptions
from trunkline.report.tables import UNSTABLE
from trunkline.verbs.bench_runtimes import BenchedOn
from trunkline.verbs.profile import USUAL_TASKS, PredictedLayout, Profile, profile

TABLE = Path("costs.json")
_SHOWN = 10


def refuse_beside_profile(**options: object) -> None:
    """Refuse options of other measurements, which would be passed over.

    Raises:
        InvalidConfig: One is given.
    """
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if given:
        text = f"{', '.join(given)} is for measuring models, not units"
        raise InvalidConfig(text, place="--profile", advice="leave one of them out")


def show_profile(
    models: Sequence[str],
    out: Path | None,
    settings: Settings,
    on: BenchedOn,
    layouts: int,
    tasks: str | None,
    options: ReadOptions,
    plot: Path | None,
    *,
    json: bool,
) -> int:
    """Measure one backbone on one runtime, and print what the table is worth."""
    if len(models) != 1 or len(on.runtimes) != 1 or settings.batch != 1 or on.batches or on.footprint:
        text = "a cost table is of one backbone, one runtime and one image"
        raise InvalidConfig(text, place="--profile", advice="trunkline bench --profile BACKBONE [--runtime NAME]")
    if layouts < 0:
        raise InvalidConfig(f"{layouts} layouts are asked for", place="--layouts", advice="0 measures the table alone")
    named = list(parse_tasks(tasks)) if tasks else list(USUAL_TASKS)
    (runtime,) = on.runtimes
    settings = replace(settings, provider=on.provider or runtime_class(runtime).providers[0])
    with bench_bar() as progress:
        found = profile(
            models[0],
            out or TABLE,
            settings,
            tasks=named,
            layouts=layouts,
            runtime=runtime,
            options=options,
            progress=progress,
        )
    if plot is not None and found.layouts:
        found.draw(plot)
    if json:
        emit_json(found.to_json())
        return 0
    _show(found)
    emit(f"table   {found.path}")
    if plot is not None and found.layouts:
        emit(f"picture {plot}")
    return 0


def _show(found: Profile) -> None:
    if found.layouts:
        by_time = sorted(found.layouts, key=lambda entry: entry.latency.p50_ms)
        step = max(1, len(by_time) // _SHOWN)
        some = "" if step == 1 else f", every {step} of {len(by_time)}"
        title = f"Layouts of {len(found.tasks)} tasks by latency{some}; without heads"
        columns = (
            "runs × blocks",
            "predicted (ms)",
            "at this pace",
            "measured (ms)",
            "99 % interval (ms)",
            "error (%)",
        )
        emit_table(title, columns, [_row(entry) for entry in by_time[::step]])
        spearman = found.agreement.spearman
        emit(
            f"predictions: rank correlation {spearman.value:.3f} [{spearman.low:.3f}, {spearman.high:.3f}], "
            f"median error {found.median_error_percent:.1f} %, {len(found.layouts)} layouts"
        )
        paces = [entry.pace for entry in found.layouts]
        emit(
            f"pace: the backbone alone took {min(paces):.2f} to {max(paces):.2f} times what it took for the table; "
            "errors are at equal pace"
        )
        unsteady = sum(not entry.latency.stable for entry in found.layouts)
        if unsteady:
            emit(f"{UNSTABLE} {unsteady} of them were not steady: quiet the machine, or measure longer")
    for latency in found.times.unstable[:_SHOWN]:
        emit(f"{UNSTABLE} {latency.name} is unstable: {latency.reason}")
    if len(found.times.unstable) > _SHOWN:
        emit(f"{UNSTABLE} {len(found.times.unstable) - _SHOWN} more are; --json has their reasons")
    emit(f"device  {found.times.table.device}")


def _row(entry: PredictedLayout) -> list[str]:
    low, high = entry.latency.p50_ci_ms
    mark = "" if entry.latency.stable else f" {UNSTABLE}"
    return [
        _runs(entry),
        f"{entry.predicted_ms:.2f}",
        f"{entry.at_this_pace_ms:.2f}",
        f"{entry.latency.p50_ms:.2f}{mark}",
        f"{low:.2f}–{high:.2f}",
        f"{entry.error_percent:+.1f}{mark}",
    ]


def _runs(entry: PredictedLayout) -> str:
    """Return how often how many blocks run, from the image on."""
    counts = itertools.groupby(len(groups) for groups in entry.layout.blocks)
    return ", ".join(f"{runs} × {len(list(blocks))}" for runs, blocks in counts)
