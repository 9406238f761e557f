"""``trunkline train``: train the model of a plan, the one found by the search or one that is given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json
from trunkline.cli.memory import keep_freed_memory
from trunkline.cli.options import Allow, Json, Pipeline, Quiet, RunFolder, limits_of
from trunkline.cli.results import say_notes, show_table
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.report.tables import accuracy_table
from trunkline.verbs.train import train_in


def train_command(
    pipeline: Pipeline,
    *,
    out: RunFolder,
    plan: Annotated[Path | None, Parameter(help="Sharing plan; the run's own if absent.")] = None,
    allow: Allow = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Train the multi-task model of a plan."""
    keep_freed_memory()
    project = Project(load_config(pipeline), out, limits_of(allow))
    say_notes(project)
    result = train_in(project, plan, quiet=quiet)
    if json:
        emit_json(result.to_json())
    else:
        show_table(accuracy_table([result.to_json()], {}))
        emit(f"weights {result.checkpoint}")
    return 0
