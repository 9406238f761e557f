"""``trunkline costs``."""

from __future__ import annotations

from pathlib import Path

from trunkline.bench.unit_times import UnitTimes
from trunkline.cli.allow import Allow, limits_of
from trunkline.cli.console import emit, emit_json, emit_table
from trunkline.cli.options import Json, Out, Pipeline
from trunkline.verbs.config import load_config
from trunkline.verbs.costs import costs
from trunkline.verbs.project import Project


def costs_command(pipeline: Pipeline, out: Out, *, allow: Allow = None, json: Json = False) -> int:
    """Measure what each unit of the pipeline's backbone takes, as its table [bench] says."""
    result = costs(Project(load_config(pipeline), Path(), limits_of(allow)), out)
    if json:
        emit_json({"path": str(out), "stable": not result.unstable, **result.table.model_dump(mode="json")})
    else:
        _show(result)
        emit(f"table   {out}")
    return 0


def _show(result: UnitTimes) -> None:
    table = result.table
    rows = [(name, f"{entry.ms:.4f}", f"{entry.skip_ms:.4f}") for name, entry in table.units.items()]
    rows += [(name, f"{entry.ms:.4f}", "–") for name, entry in table.nodes.items()]
    emit_table(f"What each unit takes on {table.device}", ("unit", "ms", "its skip, ms"), rows)
    for latency in result.unstable:
        emit(f"unstable: {latency.name}: {latency.reason}")
