"""``trunkline inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.allow import Allow, limits_of
from trunkline.cli.console import emit, emit_json, emit_table, number, parse_size, say, shape_text
from trunkline.cli.features import Features, features_of
from trunkline.cli.options import InputSize, Json, Model
from trunkline.files import atomic_write
from trunkline.verbs.inspect import Inspection, inspect


def inspect_command(
    model: Model,
    *,
    input_size: InputSize = None,
    features: Features = None,
    graph: Annotated[Path | None, Parameter(help="Draw the blocks and branching points into this SVG file.")] = None,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Show what a model holds and costs, where it branches, and what is wrong with it."""
    size, names = parse_size(input_size), features_of(features)
    result = inspect(model, input_size=size, features=names, limits=limits_of(allow))
    if graph is not None:
        atomic_write(graph, result.to_svg().encode())
        say(f"{graph}: {len(result.blocks)} blocks drawn")
    if json:
        emit_json(result.to_json())
    else:
        _show(result)
    return 0


def _show(result: Inspection) -> None:
    emit(f"{result.name}: {number(result.cost.parameters)} parameters, {number(result.cost.macs)} MACs an image")
    for kind, shapes in (("input", result.inputs), ("output", result.outputs)):
        for name, shape in shapes.items():
            emit(f"  {kind:<7}{name}  {shape_text(shape)}")
    emit("  ops    " + ", ".join(f"{count} {op}" for op, count in result.ops.items()))
    emit("")
    total = max(1, result.cost.macs)
    rows = [
        [
            str(index),
            block.name,
            summary,
            number(block.cost.parameters),
            number(block.cost.macs),
            f"{100 * block.cost.macs / total:.1f}",
            shape_text(block.output_shape),
        ]
        for index, (block, summary) in enumerate(zip(result.blocks, result.summaries, strict=True))
    ]
    columns = ["#", "block", "holds", "parameters", "MACs", "MACs %", "output"]
    emit_table(f"{len(result.blocks)} blocks between branching points", columns, rows, left=3)
    for problem in result.problems:
        emit(f"note: {problem}")
