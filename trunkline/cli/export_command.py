"""``trunkline export``: write the ONNX file of a trained run, and check it against the trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json
from trunkline.cli.export_notes import say_fusion, say_not_folded, show_free_size
from trunkline.cli.options import Allow, FreeSize, Json, Pipeline, Quiet, RunFolder, limits_of
from trunkline.cli.results import show_table
from trunkline.export.fusion import FuseMode
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.pipeline.tables import Precision
from trunkline.report.tables import parity_table, precision_table
from trunkline.text import with_thousands
from trunkline.verbs.export import export
from trunkline.verbs.export_precision import export_precisions, refuse_precisions
from trunkline.verbs.train import train_in


def export_command(
    pipeline: Pipeline,
    *,
    out: RunFolder,
    model: Annotated[Path | None, Parameter(help="File to write; model.onnx in the run's folder if absent.")] = None,
    plan: Annotated[Path | None, Parameter(help="Sharing plan; the run's own if absent.")] = None,
    precision: Annotated[
        list[Precision] | None,
        Parameter(name="--precision", negative="", help="Another precision to write too; repeatable."),
    ] = None,
    fuse: Annotated[
        FuseMode | None,
        Parameter(help="Parallel convolutions as one: off, on, or measure: where it proves faster."),
    ] = None,
    free_size: FreeSize = False,
    allow: Allow = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Export a trained run to ONNX, parity checked. Training that is not finished is finished first."""
    project = Project(load_config(pipeline), out, limits_of(allow))
    free_size = free_size or project.config.export.free_size
    refuse_precisions(free_size, [*project.config.export.precisions, *(precision or ())])
    trained = train_in(project, plan, quiet=quiet)
    result = export(project, trained, model, fuse=fuse, free_size=free_size)
    say_not_folded(result)
    wanted = dict.fromkeys([*project.config.export.precisions, *(precision or ())])
    others = export_precisions(project, trained, result, list(wanted)) if wanted else None
    # The table is made of the same content that --json prints, and a report reads from the run's folder.
    content = result.to_json()
    if json:
        emit_json(content if others is None else {**content, "precisions": others.to_json()})
        return 0
    show_table(parity_table(content))
    emit(f"model   {result.path}: {result.nodes} nodes, {with_thousands(result.file_bytes)} bytes")
    say_fusion(result)
    show_free_size(result)
    if others is not None:
        show_table(precision_table(others.to_json()))
        for file in others.files:
            emit(f"model   {file.result.path}: {file.precision}, {with_thousands(file.result.file_bytes)} bytes")
    return 0
