"""``trunkline export``: write the ONNX file of a trained run, and check it against the trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json
from trunkline.cli.export_notes import say_not_folded
from trunkline.cli.options import Allow, Json, Pipeline, Quiet, RunFolder, limits_of
from trunkline.cli.results import show_table
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.report.tables import parity_table
from trunkline.text import with_thousands
from trunkline.verbs.export import export
from trunkline.verbs.train import train_in


def export_command(
    pipeline: Pipeline,
    *,
    out: RunFolder,
    model: Annotated[Path | None, Parameter(help="File to write; model.onnx in the run's folder if absent.")] = None,
    plan: Annotated[Path | None, Parameter(help="Sharing plan; the run's own if absent.")] = None,
    allow: Allow = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Export a trained run to ONNX, parity checked. Training that is not finished is finished first."""
    project = Project(load_config(pipeline), out, limits_of(allow))
    result = export(project, train_in(project, plan, quiet=quiet), model)
    say_not_folded(result)
    # The table is made of the same content that --json prints, and a report reads from the run's folder.
    content = result.to_json()
    if json:
        emit_json(content)
        return 0
    show_table(parity_table(content))
    emit(f"model   {result.path}: {result.nodes} nodes, {with_thousands(result.file_bytes)} bytes")
    return 0
