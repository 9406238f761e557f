"""``trunkline search``: the first stage of a pipeline alone, which ends in a sharing plan."""

from __future__ import annotations

from trunkline.cli.console import emit, emit_json
from trunkline.cli.memory import keep_freed_memory
from trunkline.cli.options import Allow, Json, Pipeline, Quiet, RunFolder, limits_of
from trunkline.cli.results import say_notes, show_table
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.report.tables import cost_table
from trunkline.verbs.search import search


def search_command(
    pipeline: Pipeline, *, out: RunFolder, allow: Allow = None, quiet: Quiet = False, json: Json = False
) -> int:
    """Learn which parts the tasks should share; ends with a plan."""
    keep_freed_memory()
    project = Project(load_config(pipeline), out, limits_of(allow))
    say_notes(project)
    result = search(project, quiet=quiet)
    if json:
        emit_json(result.to_json())
    else:
        show_table(cost_table(result.to_json()))
        emit(f"plan    {result.path}")
    return 0
