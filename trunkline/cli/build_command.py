"""Arguments of ``trunkline build``, and its table of costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.cli.console import emit, emit_json, emit_table, parse_size, say
from trunkline.cli.export_notes import show_free_size
from trunkline.cli.options import (
    Allow,
    AllowMissing,
    BranchAfter,
    BranchMerge,
    Features,
    Fold,
    FreeSize,
    InputSize,
    Json,
    Model,
    NoBranchAfter,
    Out,
    ParityInputs,
    Weights,
    branching_of,
    features_of,
    limits_of,
)
from trunkline.cli.tasks_argument import parse_tasks
from trunkline.graph.cost import Cost
from trunkline.ingest.read_options import ReadOptions
from trunkline.text import with_thousands
from trunkline.verbs.build import BuildResult, Sharing, build


def build_command(
    backbone: Model,
    out: Out,
    *,
    tasks: Annotated[str, Parameter(help="Tasks in output order, as name[:channels],…")],
    plan: Annotated[Path | None, Parameter(help="Sharing plan (JSON).")] = None,
    all_shared: Annotated[bool, Parameter(negative="", help="One backbone for all tasks.")] = False,
    independent: Annotated[bool, Parameter(negative="", help="A backbone for each task.")] = False,
    share_until: Annotated[str | None, Parameter(help="Last shared block, by name or number.")] = None,
    layout: Annotated[Path | None, Parameter(help="TreeMTL layout (JSON): groups of tasks for each block.")] = None,
    head: Annotated[str, Parameter(help="light, aspp, linear, deeplabv3plus, fpn, none, or a model file.")] = "light",
    weights: Weights = None,
    allow_missing: AllowMissing = False,
    input_size: InputSize = None,
    features: Features = None,
    branch_merge: BranchMerge = "previous",
    branch_after: BranchAfter = None,
    no_branch_after: NoBranchAfter = None,
    fold: Fold = False,
    free_size: FreeSize = False,
    parity_inputs: ParityInputs = 8,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Write the multi-task model of a plan or layout, without training it."""
    sharing = Sharing(plan, layout, share_until, all_shared, independent)
    branching = branching_of(branch_merge, branch_after, no_branch_after)
    size, ends = parse_size(input_size), features_of(features)
    options = ReadOptions(size, ends, weights, allow_missing, limits_of(allow), branching)
    result = build(
        backbone,
        out,
        tasks=parse_tasks(tasks),
        sharing=sharing,
        head=head,
        fold=fold,
        free_size=free_size,
        parity_inputs=parity_inputs,
        options=options,
    )
    # On stderr, also with --json: stdout is one JSON document.
    for note in result.notes:
        say(f"note: {note}")
    if json:
        emit_json(result.to_json())
    else:
        _show(result)
    return 0


def _show(result: BuildResult) -> None:
    emit(f"{result.path}: {result.nodes} nodes, tasks {', '.join(result.plan.tasks)}")
    cost = result.cost
    # Apart from the heads, which no plan shares: they would hide what sharing saves.
    rows = [
        _cost_row("backbone", cost.backbone, cost.independent_backbone),
        _cost_row("all", cost.total, cost.independent),
    ]
    emit_table("cost of one image", ["part", "parameters", "MACs", "MACs independent", "ratio"], rows)
    if result.export is not None:
        show_free_size(result.export)


def _cost_row(part: str, built: Cost, independent: Cost) -> list[str]:
    ratio = built.macs / max(1, independent.macs)  # a backbone without a convolution has no MACs
    counts = (built.parameters, built.macs, independent.macs)
    return [part, *(with_thousands(count) for count in counts), f"{ratio:.3f}"]
