"""``trunkline convert``: take a model to canonical ONNX or to Caffe, and compare the two on seeded inputs."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json, parse_size, say
from trunkline.cli.export_notes import say_not_folded, show_free_size
from trunkline.cli.options import (
    Allow,
    AllowMissing,
    Features,
    Fold,
    FreeSize,
    InputSize,
    Json,
    Model,
    Out,
    ParityInputs,
    Weights,
    features_of,
    limits_of,
)
from trunkline.ingest.read_options import ReadOptions
from trunkline.text import with_thousands
from trunkline.verbs.convert import convert


def convert_command(
    model: Model,
    out: Out,
    *,
    weights: Weights = None,
    allow_missing: AllowMissing = False,
    input_size: InputSize = None,
    features: Features = None,
    fold: Fold = False,
    reuse: Annotated[bool, Parameter(help="Compute equal things once; ties weights that start equal.")] = False,
    parity_inputs: ParityInputs = 32,
    free_size: FreeSize = False,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Convert a model to canonical ONNX, or to Caffe where OUT ends in .prototxt, parity checked."""
    options = ReadOptions(parse_size(input_size), features_of(features), weights, allow_missing, limits_of(allow))
    result = convert(
        model, out, fold=fold, reuse=reuse, parity_inputs=parity_inputs, free_size=free_size, options=options
    )
    # On stderr, also with --json: stdout is one JSON document.
    for note in result.notes:
        say(f"note: {note}")
    say_not_folded(result.export)
    if json:
        emit_json(result.to_json())
        return 0
    export = result.export
    emit(
        f"{export.path}: {export.nodes} nodes, {with_thousands(export.parameters)} parameters, "
        f"{with_thousands(export.file_bytes)} bytes"
    )
    emit(f"parity passed on {parity_inputs} inputs")
    show_free_size(export)
    return 0
