"""``trunkline bundle``: an exported run as a folder that needs onnxruntime, numpy and Pillow alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json
from trunkline.cli.options import Allow, Json, Pipeline, limits_of
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.text import with_thousands
from trunkline.verbs.bundle import bundle


def bundle_command(
    pipeline: Pipeline,
    *,
    out: Annotated[Path, Parameter(name="--out", help="The run's folder, exported already.")],
    to: Annotated[Path, Parameter(name="--to", help="Folder to write; a bundle that is there is replaced.")],
    precision: Annotated[
        Literal["float32", "float16", "bfloat16", "int8"], Parameter(name="--precision", help="Which of its files.")
    ] = "float32",
    engine: Annotated[
        Path | None,
        Parameter(name="--engine", help="TensorRT engine of that file, built by `trunkline engine`, to put beside it."),
    ] = None,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Write a folder with the model, a manifest, predict.py and bench.py, for a machine without Trunkline."""
    found = bundle(Project(load_config(pipeline), out, limits_of(allow)), to, precision, engine)
    if json:
        emit_json(found.to_json())
        return 0
    model = found.manifest["model"]
    emit(f"bundle  {found.folder}: {model['precision']}, {with_thousands(model['file_bytes'])} bytes")
    if (built := found.manifest["engine"]) is not None:
        emit(
            f"engine  {built['file']}: {built['gpu']}, TensorRT {built['tensorrt']}, batch {built['profile']['batch']}"
        )
    emit(f"try     python {found.folder / 'predict.py'} photo.jpg prediction.png")
    emit(f"measure python {found.folder / 'bench.py'} --out bench.json")
    return 0
