"""``trunkline compare``: ways of sharing side by side, on the same data, backbone, heads, steps and seeds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json, say
from trunkline.cli.options import Allow, Json, Pipeline, Quiet, limits_of
from trunkline.cli.results import show_table
from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import load_config
from trunkline.train.jobs.job import Workers
from trunkline.train.jobs.local_workers import LocalWorkers
from trunkline.train.jobs.ray_workers import RayWorkers
from trunkline.train.progress.job_progress import make_job_progress
from trunkline.verbs.compare import compare

Out = Annotated[Path, Parameter(name="--out", help="The comparison's folder; called again, it goes on from there.")]
Methods = Annotated[
    str | None,
    Parameter(name="--methods", help="What to compare, as NAME,NAME,…: methods and [variants]; default all variants."),
]
Seeds = Annotated[int, Parameter(name="--seeds", help="Seeds to train each with: the pipeline's, and those after it.")]
Jobs = Annotated[int, Parameter(name="--jobs", help="Runs at a time, each in a process of its own.")]
Ray = Annotated[
    str | None, Parameter(name="--ray", help="Do the runs on this Ray cluster, as auto or ray://HOST:PORT.")
]
SoFar = Annotated[bool, Parameter(name="--so-far", negative="", help="Train nothing; report the runs that are done.")]


def compare_command(
    pipeline: Pipeline,
    *,
    out: Out,
    methods: Methods = None,
    seeds: Seeds = 3,
    jobs: Jobs = 1,
    ray: Ray = None,
    so_far: SoFar = False,
    allow: Allow = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Train ways of sharing with several seeds each, measure all of them, and write one table."""
    compared = compare(
        load_config(pipeline),
        out,
        methods=_names(methods),
        seeds=seeds,
        workers=None if so_far else _workers(jobs, ray),
        limits=limits_of(allow),
        show=lambda count: make_job_progress(count, quiet=quiet),
        say=say,
    )
    if json:
        emit_json(compared.to_json())
        compared.require_all()
        return 0
    # The last one has a column for every metric, too many for a terminal.
    for table in compared.report.tables[:-1]:
        show_table(table)
    emit(f"report  {compared.report.path}")
    emit(f"rows    {compared.report.rows}")
    for picture in compared.report.pictures:
        emit(f"picture {picture}")
    compared.require_all()
    return 0


def _names(text: str | None) -> list[str]:
    """Return the names that ``--methods`` lists.

    Raises:
        InvalidConfig: A name is empty.
    """
    names = [] if text is None else [name.strip() for name in text.split(",")]
    if not all(names):
        raise InvalidConfig("--methods holds an empty name", advice="for example automtl,multi-task,share-until:2")
    return names


def _workers(jobs: int, ray: str | None) -> Workers:
    """Return what does the runs; each gets its part of the cores, or as many threads as OMP_NUM_THREADS says.

    Raises:
        InvalidConfig: There is to be less than one run at a time.
    """
    if jobs < 1:
        raise InvalidConfig(f"{jobs} runs at a time", place="--jobs", advice="give a whole number from 1 on")
    said = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(said) if said.isdigit() and int(said) else max(1, (os.cpu_count() or 1) // jobs)
    return LocalWorkers(jobs, threads) if ray is None else RayWorkers(ray, jobs, threads)
