"""Arguments of ``trunkline two-task``, and its table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json, emit_table, say
from trunkline.cli.jobs import Jobs, Ray, workers_of
from trunkline.cli.options import Allow, Json, Pipeline, Quiet, limits_of
from trunkline.pipeline.config import load_config
from trunkline.train.progress.job_progress import make_job_progress
from trunkline.verbs.two_task import MeasuredPairs, two_task

Out = Annotated[Path, Parameter(name="--out", help="Folder of the jobs and the table; called again, it goes on.")]
Seeds = Annotated[int, Parameter(name="--seeds", help="Seeds to train each pair with; the table has their mean.")]


def two_task_command(
    pipeline: Pipeline,
    *,
    out: Out,
    seeds: Seeds = 1,
    jobs: Jobs = 1,
    ray: Ray = None,
    allow: Allow = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Train every two tasks at every branching point, and write the table that `recommend` ranks trees by."""
    measured = two_task(
        load_config(pipeline),
        out,
        seeds=seeds,
        workers=workers_of(jobs, ray),
        limits=limits_of(allow),
        show=lambda count: make_job_progress(count, quiet=quiet),
        say=say,
    )
    if json:
        emit_json(measured.to_json())
        return 0
    _show(measured)
    emit(f"table   {measured.path}")
    return 0


def _show(measured: MeasuredPairs) -> None:
    table = measured.table
    columns = ("task", "beside", *(f"{point} shared" for point in range(table.blocks + 1)))
    rows = [
        (task, partner, *(f"{value:+.2f}" for value in table.series(task, partner)))
        for task in table.tasks
        for partner in table.tasks
        if task != partner
    ]
    emit_table("Change against single-task models (%), by how many blocks two tasks share", columns, rows, left=2)
