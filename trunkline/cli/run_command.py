"""``trunkline run``: every stage of a pipeline file, from the search to the report."""

from __future__ import annotations

from trunkline.cli.console import emit_json, say
from trunkline.cli.memory import keep_freed_memory
from trunkline.cli.options import Allow, Json, Pipeline, Quiet, RunFolder, limits_of
from trunkline.cli.results import show_run
from trunkline.pipeline.config import load_config
from trunkline.verbs.run import run


def run_command(
    pipeline: Pipeline, *, out: RunFolder, allow: Allow = None, quiet: Quiet = False, json: Json = False
) -> int:
    """Search, train, export, measure and report, as a pipeline file says."""
    keep_freed_memory()
    result = run(load_config(pipeline), out, limits=limits_of(allow), quiet=quiet, say=say)
    if json:
        emit_json(result.to_json())
    else:
        show_run(result)
    return 0
