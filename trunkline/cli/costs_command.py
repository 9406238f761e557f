"""Arguments of ``trunkline costs``, and its table of times."""

from __future__ import annotations

from pathlib import Path

from trunkline.bench.unit_times import NOTHING, UnitTimes
from trunkline.cli.console import emit, emit_json, emit_table
from trunkline.cli.options import Allow, Json, Out, Pipeline, limits_of
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.report.tables import UNSTABLE
from trunkline.verbs.costs import costs


def costs_command(pipeline: Pipeline, out: Out, *, allow: Allow = None, json: Json = False) -> int:
    """Measure what each unit of the pipeline's backbone takes, as its table [bench] says."""
    # No stage is opened, so the project needs no folder: the table is the only file that is written.
    project = Project(load_config(pipeline), Path(), limits_of(allow))
    result = costs(project, out)
    if json:
        reasons = {latency.name: latency.reason for latency in result.unstable}
        emit_json({"path": str(out), "stable": not reasons, "reasons": reasons, **result.table.model_dump(mode="json")})
    else:
        _show(result)
        emit(f"table   {out}")
    return 0


def _show(result: UnitTimes) -> None:
    table = result.table
    unsteady = {latency.name for latency in result.unstable}

    def cell(ms: float, part: str) -> str:
        doubtful = unsteady & {part, NOTHING}  # what doing nothing takes is subtracted from all of them
        return f"{ms:.4f} {UNSTABLE}" if doubtful else f"{ms:.4f}"

    rows = []
    for name, entry in table.units.items():
        rows.append((name, cell(entry.ms, f"unit {name}"), cell(entry.skip_ms, f"skip {name}")))
    for name, node in table.nodes.items():
        rows.append((name, cell(node.ms, f"node {name}"), "–"))  # only a unit can be skipped
    emit_table(f"What each unit takes on {table.device}", ("unit", "ms", "its skip, ms"), rows)
    for latency in result.unstable:
        others = ", and so is every time, from which it is subtracted" if latency.name == NOTHING else ""
        emit(f"{UNSTABLE} {latency.name} is unstable{others}: {latency.reason}")
