"""Arguments of ``trunkline inspect``, and how a model is described in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json, emit_table, parse_size, say
from trunkline.cli.options import (
    Allow,
    BranchAfter,
    BranchMerge,
    Features,
    InputSize,
    Json,
    Model,
    NoBranchAfter,
    Weights,
    branching_of,
    features_of,
    limits_of,
)
from trunkline.files.write import atomic_write
from trunkline.ingest.read_options import ReadOptions
from trunkline.text import shape_text, with_thousands
from trunkline.verbs.inspect import Inspection, StoredCounts, inspect


def inspect_command(
    model: Model,
    *,
    weights: Weights = None,
    input_size: InputSize = None,
    features: Features = None,
    branch_merge: BranchMerge = "previous",
    branch_after: BranchAfter = None,
    no_branch_after: NoBranchAfter = None,
    graph: Annotated[Path | None, Parameter(help="Draw the blocks and branching points into this SVG file.")] = None,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Show what a model holds and costs, where it branches, and what is wrong with it."""
    branching = branching_of(branch_merge, branch_after, no_branch_after)
    size, ends = parse_size(input_size), features_of(features)
    options = ReadOptions(size, ends, weights, limits=limits_of(allow), branching=branching)
    result = inspect(model, options=options)
    if graph is not None:
        atomic_write(graph, result.to_svg().encode())
        say(f"{graph}: {len(result.blocks)} blocks drawn")  # on stderr: with --json, stdout is one JSON document
    if json:
        emit_json(result.to_json())
    else:
        _show(result)
    return 0


def _show(result: Inspection) -> None:
    parameters, macs = with_thousands(result.cost.parameters), with_thousands(result.cost.macs)
    emit(f"{result.name}: {parameters} parameters, {macs} MACs an image")
    for kind, shapes in (("input", result.inputs), ("output", result.outputs)):
        for name, shape in shapes.items():
            emit(f"  {kind:<10}{name}  {shape_text(shape)}")
    emit("  ops       " + ", ".join(f"{count} {op}" for op, count in result.ops.items()))
    emit("  numbers   " + _numbers(result.stored))
    emit("  features  " + _features(result))
    if len(result.pyramid) > 1:
        emit("  pyramid   " + ", ".join(f"{found.name} (stride {found.stride})" for found in result.pyramid))
    emit("")
    _show_blocks(result)
    for problem in result.problems:
        emit(f"note: {problem}")


def _numbers(stored: StoredCounts) -> str:
    """Return how many of the stored numbers training moves, and how many it does not."""
    parts = [f"{with_thousands(stored.trainable)} train"]
    if stored.statistics:
        parts.append(f"{with_thousands(stored.statistics)} running statistics")
    if stored.constants:
        ending = "" if stored.constants == 1 else "s"
        parts.append(f"{with_thousands(stored.constants)} constant{ending}")
    return ", ".join(parts)


def _features(result: Inspection) -> str:
    """Return which map tasks would read if none were named."""
    if not result.features:
        return "none: there is no map [N, C, H, W] that a head could read"
    found = result.features[-1]
    stride = "" if found.stride is None else f", stride {found.stride}"
    return f"{found.name}  {shape_text(found.shape)}{stride}"


def _show_blocks(result: Inspection) -> None:
    total = max(1, result.cost.macs)  # a network of pooling alone has no MACs
    columns = ["#", "block", "holds", "parameters", "MACs", "MACs %", "output"]
    rows = []
    for index, (block, summary) in enumerate(zip(result.blocks, result.summaries, strict=True)):
        share = f"{100 * block.cost.macs / total:.1f}"
        counts = [with_thousands(block.cost.parameters), with_thousands(block.cost.macs), share]
        rows.append([str(index), block.name, summary, *counts, shape_text(block.output_shape)])
    # Only with several outputs: where there is one, the last block gives it, and the column would be empty elsewhere.
    if len(result.outputs) > 1:
        columns.append("gives")
        for row, outputs in zip(rows, result.gives, strict=True):
            row.append(", ".join(outputs))
    title = f"{len(rows)} blocks; tasks may part before each of them"
    emit_table(title, columns, rows, left=3)
