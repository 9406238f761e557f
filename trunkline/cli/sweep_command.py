"""Arguments of ``trunkline sweep``, and its table of branching points."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.bench.runtimes.registry import DEFAULT_RUNTIME, runtime_class
from trunkline.bench.settings import Settings
from trunkline.cli.bench_bar import bench_bar
from trunkline.cli.blocks_argument import Blocks, BlocksBy, blocks_of
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
    branching_of,
    features_of,
    limits_of,
)
from trunkline.cli.runtime_argument import RUNTIME_HELP, Provider
from trunkline.cli.tasks_argument import parse_tasks
from trunkline.ingest.read_options import ReadOptions
from trunkline.report.tables import UNSTABLE
from trunkline.text import with_thousands
from trunkline.verbs.sweep import Sweep, SweepPoint, sweep


def sweep_command(
    backbone: Model,
    *,
    tasks: Annotated[str, Parameter(help="Tasks in output order, as name[:channels],…")],
    blocks: Blocks = None,
    blocks_by: BlocksBy = "macs",
    costs: Annotated[Path | None, Parameter(help="Cost table of the backbone, for --blocks-by ms.")] = None,
    head: Annotated[str, Parameter(help="light, aspp, linear, deeplabv3plus, fpn, none, or a model file.")] = "light",
    runtime: Annotated[str, Parameter(help=RUNTIME_HELP)] = DEFAULT_RUNTIME,
    provider: Provider = None,
    threads: Annotated[int, Parameter(help="Threads inside one operator.")] = 1,
    samples: Annotated[int, Parameter(help="Rounds at least; p90 needs 64, p99 needs 662.")] = 100,
    limit: Annotated[float, Parameter(help="Seconds after which no further round begins.")] = 120.0,
    input_size: InputSize = None,
    features: Features = None,
    branch_merge: BranchMerge = "previous",
    branch_after: BranchAfter = None,
    no_branch_after: NoBranchAfter = None,
    plot: Annotated[Path | None, Parameter(help="PNG to draw: latency and MACs by how much is shared.")] = None,
    allow: Allow = None,
    json: Json = False,
) -> int:
    """Measure what each branching point costs on this device, from N models to one, without training any."""
    runs_on = provider or runtime_class(runtime).providers[0]
    settings = Settings(provider=runs_on, threads=threads, minimum_samples=samples, limit_seconds=limit)
    branching = branching_of(branch_merge, branch_after, no_branch_after)
    size, ends = parse_size(input_size), features_of(features)
    options = ReadOptions(size, ends, limits=limits_of(allow), branching=branching)
    with bench_bar() as progress:
        result = sweep(
            backbone,
            parse_tasks(tasks),
            settings,
            blocks=blocks_of(blocks),
            blocks_by=blocks_by,
            costs=costs,
            head=head,
            runtime=runtime,
            options=options,
            progress=progress,
        )
    for note in result.notes:
        say(f"note: {note}")
    if plot is not None:
        result.draw(plot)
    if json:
        emit_json(result.to_json())
        return 0
    _show(result)
    if plot is not None:
        emit(f"picture {plot}")
    return 0


def _show(result: Sweep) -> None:
    columns = (
        "shared",
        "until",
        "MACs",
        "MACs (%)",
        "parameters",
        "parameters (%)",
        "p50 (ms)",
        "99 % interval",
        "speed-up",
    )
    title = f"What sharing the first blocks saves, for {', '.join(result.tasks)}; heads included"
    emit_table(title, columns, [_row(point) for point in result.points], left=2)
    for latency in result.comparison.latencies:
        if not latency.stable:
            emit(f"{UNSTABLE} {latency.name} is unstable: {latency.reason}")
    emit(f"timed: {result.comparison.latencies[0].region}")


def _row(point: SweepPoint) -> list[str]:
    low, high = point.latency.p50_ci_ms
    mark = "" if point.stable else f" {UNSTABLE}"
    return [
        str(point.shared),
        point.block or "nothing",
        with_thousands(point.cost.total.macs),
        f"{100 * (point.macs_share - 1):+.1f}",
        with_thousands(point.cost.total.parameters),
        f"{100 * (point.parameters_share - 1):+.1f}",
        f"{point.latency.p50_ms:.2f}",
        f"{low:.2f}–{high:.2f}",
        f"{point.speed_up:.2f}{mark}",
    ]
