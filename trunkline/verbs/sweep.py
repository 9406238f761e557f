"""``sweep``: what each branching point costs on this device, from N models to one, without training any."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from trunkline.bench.compare import Comparison
from trunkline.bench.latency import Latency
from trunkline.bench.models import bench_groups
from trunkline.bench.protocol import Progress
from trunkline.bench.runtimes.registry import runtime_class
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.graph import Graph
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadKeywords, ReadOptions
from trunkline.report.sweep_picture import SweepMark, draw_sweep
from trunkline.report.trade_off import SINGLE_TASK
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.coarse_blocks import expanded
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.merged_backbone import MergedBackbone, MergedBy, MergedCost, merged_backbone
from trunkline.sharing.layouts.plans import plan_of_layout, shared_until
from trunkline.sharing.lowering.executed_cost import ExecutedCost, cost_of_lowered
from trunkline.sharing.lowering.lower import lower
from trunkline.verbs.bench import runtime_named
from trunkline.verbs.bench_plans import write_apart
from trunkline.verbs.build import backbone_with_heads


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """A model that shares its first blocks.

    Attributes:
        shared: How many: 0 is a model for each task, the number of blocks is one for all.
        block: The last block that is shared; empty where none is.
        cost: MACs and parameters, next to those of independent models, heads included.
        latency: What it takes.
        speed_up: How many times faster than independent models.
        speed_up_ci: Interval of it at 99 %.
        stable: Whether both times can be relied on.
    """

    shared: int
    block: str
    cost: ExecutedCost
    latency: Latency
    speed_up: float
    speed_up_ci: tuple[float, float]
    stable: bool

    @property
    def macs_share(self) -> float:
        """Executed MACs as a share of independent models'."""
        return self.cost.total.macs / max(1, self.cost.independent.macs)

    @property
    def parameters_share(self) -> float:
        """Parameters as a share of independent models'."""
        return self.cost.total.parameters / max(1, self.cost.independent.parameters)

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "shared": self.shared,
            "block": self.block,
            "macs": self.cost.total.macs,
            "macs_percent": 100 * (self.macs_share - 1),
            "parameters": self.cost.total.parameters,
            "parameters_percent": 100 * (self.parameters_share - 1),
            "latency_ms": self.latency.p50_ms,
            "interval_ms": list(self.latency.p50_ci_ms),
            "speed_up": self.speed_up,
            "speed_up_ci": list(self.speed_up_ci),
            "stable": self.stable,
        }


@dataclass(frozen=True)
class Sweep:
    """Every "shared until block k" of a backbone, measured together.

    Attributes:
        tasks: Task names.
        points: From nothing shared to everything.
        comparison: The measurement.
        notes: What the reader repaired or dropped.
    """

    tasks: tuple[str, ...]
    points: tuple[SweepPoint, ...]
    comparison: Comparison
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        points = [point.to_json() for point in self.points]
        return {
            "tasks": list(self.tasks),
            "points": points,
            "bench": self.comparison.to_json(),
            "notes": list(self.notes),
        }

    def draw(self, path: Path) -> None:
        """Draw latency and MACs over how much is shared, as PNG."""
        marks = [
            SweepMark(point.shared, point.block, point.latency.p50_ms, point.macs_share, point.stable)
            for point in self.points
        ]
        draw_sweep(marks, path)


def sweep(
    backbone: str | Path | Graph,
    tasks: Mapping[str, int],
    settings: Settings,
    *,
    blocks: MergedBy = None,
    blocks_by: MergedCost = "macs",
    costs: Path | None = None,
    head: str | Path | Graph = "light",
    runtime: str = "onnxruntime",
    options: ReadOptions = AS_THE_FILE_SAYS,
    progress: Progress | None = None,
    **reading: Unpack[ReadKeywords],
) -> Sweep:
    """Measure N models, the models that share 1, 2, … blocks, and one for all, in one interleaved run.

    Args:
        backbone: Model file or ``zoo:NAME``, or a Graph.
        tasks: Output channels by task, in output order.
        settings: How it is measured.
        blocks: Which blocks are swept together; each by itself if absent.
        blocks_by: What a number of them is to have alike.
        costs: A cost table of the backbone, for blocks that take as long as each other.
        head: The head of every task, as for ``build``.
        runtime: What runs the models.
        options: How to read the backbone.
        progress: Called with the rounds done and those to do.
        **reading: Options by name; see :class:`ReadOptions`.

    Raises:
        InvalidModel: The backbone cannot be read.
        InvalidConfig: The head or the blocks do not fit it.
        WorkFailed: The runtime or provider is not there; there is no silent fall-back.
    """
    options = options.but(reading)
    # Before any model is written.
    runtime_class(runtime).require_provider(settings.provider)
    graph, heads = backbone_with_heads(backbone, tasks, head, options)
    merged, names = merged_backbone(Backbone(graph), blocks, costs, blocks_by), list(tasks)
    depth = len(merged.blocks)
    lowered = [_lowered(shared_until(names, shared, depth), merged, heads) for shared in range(depth + 1)]
    executed = [cost_of_lowered(model, merged.backbone, heads, len(names)) for model in lowered]
    with tempfile.TemporaryDirectory() as folder:
        groups = {SINGLE_TASK: write_apart(merged.backbone, heads, names, Path(folder))}
        for shared, model in enumerate(lowered[1:], start=1):
            # Without `reuse`: copies of the backbone have equal weights here, and would be merged into one.
            groups[_name(shared)] = [write_onnx(model, Path(folder) / f"until-{shared}.onnx", fold=True, reuse=False)]
        runs = runtime_named(runtime, options.limits)
        compared = bench_groups(groups, settings, runtime=runs, limits=options.limits, progress=progress)
    points = tuple(_point(shared, merged, cost, compared) for shared, cost in enumerate(executed))
    return Sweep(tuple(names), points, compared, graph.notes)


def _name(shared: int) -> str:
    return f"{shared} shared"


def _lowered(layout: Layout, merged: MergedBackbone, heads: Mapping[str, Graph]) -> Graph:
    return lower(plan_of_layout(merged.backbone, expanded(layout, merged.blocks)), merged.backbone, heads).graph


def _point(shared: int, merged: MergedBackbone, cost: ExecutedCost, compared: Comparison) -> SweepPoint:
    block = merged.backbone.table("block").names[merged.blocks[shared - 1][-1]] if shared else ""
    latency = compared.latencies[shared]
    if not shared:
        return SweepPoint(shared, block, cost, latency, 1.0, (1.0, 1.0), latency.stable)
    ratio = compared.ratios[shared - 1]
    # The reciprocal turns the ends of an interval round.
    low, high = (1 / end for end in reversed(ratio.ci))
    return SweepPoint(shared, block, cost, latency, ratio.speed_up, (low, high), ratio.stable)
