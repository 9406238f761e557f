"""``trunkline compare``: ways of sharing side by side, on the same data, backbone, heads, steps and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json, say
from trunkline.cli.jobs import Jobs, Ray, workers_of
from trunkline.cli.options import Allow, Json, Pipeline, Quiet, limits_of
from trunkline.cli.results import show_table
from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import load_config
from trunkline.train.progress.job_progress import make_job_progress
from trunkline.verbs.compare import compare

Out = Annotated[Path, Parameter(name="--out", help="The comparison's folder; called again, it goes on from there.")]
Methods = Annotated[
    str | None,
    Parameter(name="--methods", help="What to compare, as NAME,NAME,…: methods and [variants]; default all variants."),
]
Seeds = Annotated[int, Parameter(name="--seeds", help="Seeds to train each with: the pipeline's, and those after it.")]
SoFar = Annotated[bool, Parameter(name="--so-far", negative="", help="Train nothing; report the runs that are done.")]


Plans = Annotated[
    Path | None,
    Parameter(name="--plans", help="Compare the plans (JSON) of this folder too, as `recommend` saves them."),
]


def compare_command(
    pipeline: Pipeline,
    *,
    out: Out,
    methods: Methods = None,
    plans: Plans = None,
    seeds: Seeds = 3,
    jobs: Jobs = 1,
    ray: Ray = None,
    so_far: SoFar = False,
    allow: Allow = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Train ways of sharing with several seeds each, measure all of them, and write one table."""
    config = load_config(pipeline)
    compared = compare(
        config,
        out,
        methods=[*(_names(methods) or config.variants), *_plans_in(plans)],
        seeds=seeds,
        workers=None if so_far else workers_of(jobs, ray),
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


def _plans_in(folder: Path | None) -> list[str]:
    """Return the plans of a folder as names of methods, in order.

    Raises:
        InvalidConfig: It holds none.
    """
    if folder is None:
        return []
    found = sorted(folder.glob("*.json"))
    if not found:
        text = "holds no plan" if folder.is_dir() else "is no folder"
        raise InvalidConfig(text, place=str(folder), advice="`trunkline recommend --save-plan` writes plans into one")
    return [f"plan:{path}" for path in found]
