"""Arguments of ``trunkline costs``, and its table of times."""

from __future__ import annotations

from pathlib import Path

from trunkline.bench.unit_times import NOTHING, UnitTimes
from trunkline.cli.bench_bar import bench_bar
from trunkline.cli.console import emit, emit_json, emit_table
from trunkline.cli.options import Allow, Json, Out, Pipeline, limits_of
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.report.tables import UNSTABLE
from trunkline.verbs.costs import costs


def costs_command(pipeline: Pipeline, out: Out, *, allow: Allow = None, json: Json = False) -> int:
    """Measure what each unit of the pipeline's backbone takes, and each join of its method, as [bench] says."""
    # No stage is opened, so the project needs no folder: the table is the only file that is written.
    project = Project(load_config(pipeline), Path(), limits_of(allow))
    with bench_bar() as progress:
        result = costs(project, out, progress=progress)
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

    def cell(ms: float, steady: bool) -> str:
        # What doing nothing takes is subtracted from all of them.
        return f"{ms:.4f}" if steady and NOTHING not in unsteady else f"{ms:.4f} {UNSTABLE}"

    def part(ms: float, name: str) -> str:
        return cell(ms, name not in unsteady)

    rows = []
    for name, entry in table.units.items():
        rows.append((name, part(entry.ms, f"unit {name}"), part(entry.skip_ms, f"skip {name}")))
    for name, node in table.nodes.items():
        rows.append((name, part(node.ms, f"node {name}"), "–"))  # only a unit can be skipped
    emit_table(f"What each unit takes on {table.device}", ("unit", "ms", "its skip, ms"), rows)
    # Equal joins are measured once, so there is no part of each name.
    joins = [(name, cell(join.ms, join.stable), cell(join.own_ms, join.stable)) for name, join in table.joins.items()]
    if joins:
        emit_table("What each join takes", ("join", "ms", "with its own column alone, ms"), joins)
    for latency in result.unstable:
        others = ", and so is every time, from which it is subtracted" if latency.name == NOTHING else ""
        emit(f"{UNSTABLE} {latency.name} is unstable{others}: {latency.reason}")
