"""``trunkline inspect``."""

from __future__ import annotations

from trunkline.cli.console import emit, emit_json, emit_table, number, parse_size, shape_text
from trunkline.cli.options import InputSize, Json, Model
from trunkline.verbs.inspect import Inspection, inspect


def inspect_command(model: Model, *, input_size: InputSize = None, json: Json = False) -> int:
    """Show what a model holds and costs, where it branches, and what is wrong with it."""
    result = inspect(model, input_size=parse_size(input_size))
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
            number(block.cost.parameters),
            number(block.cost.macs),
            f"{100 * block.cost.macs / total:.1f}",
            shape_text(block.output_shape),
        ]
        for index, block in enumerate(result.blocks)
    ]
    columns = ["#", "block", "parameters", "MACs", "MACs %", "output"]
    emit_table(f"{len(result.blocks)} blocks between branching points", columns, rows, left=2)
    for problem in result.problems:
        emit(f"note: {problem}")
