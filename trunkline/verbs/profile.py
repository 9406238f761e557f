"""``bench --profile``: a cost table of a backbone on this device, and how well it predicts the latency of layouts."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trunkline.bench.latency import Latency
from trunkline.bench.models import bench_groups
from trunkline.bench.protocol import Progress
from trunkline.bench.runtimes.base import Runtime
from trunkline.bench.settings import Settings
from trunkline.bench.unit_times import UnitTimes, measure_units
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.graph import Graph
from trunkline.ingest.read_options import AS_THE_FILE_SAYS, ReadOptions
from trunkline.report.profile_picture import LayoutMark, draw_profile
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.layout import Layout
from trunkline.sharing.layouts.plans import all_shared, plan_of_layout
from trunkline.sharing.layouts.random_layouts import random_layouts
from trunkline.sharing.lowering.lower import lower
from trunkline.verbs.agreement import Agreement, agreement_of
from trunkline.verbs.bench import runtime_named
from trunkline.verbs.build import backbone_with_heads

AT_ONCE = 5
"""Layouts that take turns: a user's models run with few others, and many would share caches and memory with all."""
USUAL_TASKS = ("segmentation", "depth", "normals")
"""Of whose layouts there are enough for any backbone; names change no time."""


@dataclass(frozen=True, slots=True)
class PredictedLayout:
    """A layout that was measured.

    Attributes:
        layout: The tree.
        predicted_ms: What the table says.
        latency: What it took.
        pace: How many times as long as in the table the backbone alone took meanwhile: a machine is not equally fast at
            all times, which is no fault of the table.
    """

    layout: Layout
    predicted_ms: float
    latency: Latency
    pace: float

    @property
    def at_this_pace_ms(self) -> float:
        """What the table says, at the pace of the measurement."""
        return self.predicted_ms * self.pace

    @property
    def error_percent(self) -> float:
        """How far the prediction is off at equal pace; above 0 it is too slow."""
        return 100 * (self.at_this_pace_ms / self.latency.p50_ms - 1)

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "layout": self.layout.as_lists(),
            "predicted_ms": self.predicted_ms,
            "measured_ms": self.latency.p50_ms,
            "interval_ms": list(self.latency.p50_ci_ms),
            "pace": self.pace,
            "error_percent": self.error_percent,
            "stable": self.latency.stable,
        }


@dataclass(frozen=True)
class Profile:
    """A measured table, and layouts that it was tried on.

    Attributes:
        times: The measurement.
        path: Where the table is.
        tasks: Of the layouts.
        layouts: What was predicted and measured; none where none were asked for.
    """

    times: UnitTimes
    path: Path
    tasks: tuple[str, ...]
    layouts: tuple[PredictedLayout, ...]

    @property
    def agreement(self) -> Agreement:
        """How well predictions and measurements agree, at equal pace."""
        return agreement_of(
            [entry.at_this_pace_ms for entry in self.layouts], [entry.latency.p50_ms for entry in self.layouts]
        )

    @property
    def median_error_percent(self) -> float | None:
        """Half of all predictions are off by no more than this; ``None`` without layouts."""
        return statistics.median(abs(entry.error_percent) for entry in self.layouts) if self.layouts else None

    def to_json(self) -> dict[str, Any]:
        """Return the stable JSON form; see ``docs/json.md``."""
        return {
            "path": str(self.path),
            "table": self.times.table.model_dump(mode="json"),
            "stable": not self.times.unstable,
            "reasons": {latency.name: latency.reason for latency in self.times.unstable},
            "tasks": list(self.tasks),
            "layouts": [entry.to_json() for entry in self.layouts],
            "agreement": self.agreement.to_json() if self.layouts else None,
            "median_error_percent": self.median_error_percent,
        }

    def draw(self, path: Path) -> None:
        """Draw measured over predicted latencies, as PNG."""
        marks = [
            LayoutMark(entry.at_this_pace_ms, entry.latency.p50_ms, entry.latency.p50_ci_ms, entry.latency.stable)
            for entry in self.layouts
        ]
        draw_profile(marks, path)


def profile(
    backbone: str | Path | Graph,
    path: Path,
    settings: Settings | None = None,
    *,
    tasks: Sequence[str] = USUAL_TASKS,
    layouts: int = 50,
    runtime: str = "onnxruntime",
    options: ReadOptions = AS_THE_FILE_SAYS,
    progress: Progress | None = None,
) -> Profile:
    """Measure what each unit of a backbone takes, write the cost table, and try it on layouts drawn by chance.

    Heads are left out of both: each task has its own in every layout, so they add the same time to all.

    Args:
        backbone: Model file or ``zoo:NAME``, or a Graph.
        path: Where the table is written.
        settings: How it is measured: for the units, and again for all layouts together. Its seed draws the layouts.
        tasks: Names of the tasks that layouts are of.
        layouts: How many.
        runtime: What runs the units and the layouts.
        options: How to read the backbone.
        progress: Called with the rounds done and those to do, of each measurement.

    Raises:
        InvalidModel: The backbone cannot be read.
        InvalidConfig: There are not so many layouts.
        WorkFailed: The runtime or provider is not there, or a unit does not run on it.
    """
    settings = settings or Settings()
    graph, _ = backbone_with_heads(backbone, dict.fromkeys(tasks, 1), "none", options)
    found = Backbone(graph)
    # Before minutes of measuring.
    drawn = random_layouts(tasks, len(found.table("block").units), layouts, settings.seed) if layouts else []
    runs = runtime_named(runtime, options.limits)
    times = measure_units(found, settings, runs, progress=progress)
    times.table.save(path)
    measured = _measured(found, drawn, settings, runs, options, progress)
    alone_ms = predicted_ms(times, found, Layout.all_shared(tasks, len(found.table("block").units)))
    tried = [
        PredictedLayout(layout, predicted_ms(times, found, layout), latency, backbone_ms / alone_ms)
        for layout, (latency, backbone_ms) in zip(drawn, measured, strict=True)
    ]
    return Profile(times, path, tuple(tasks), tuple(tried))


def predicted_ms(times: UnitTimes, backbone: Backbone, layout: Layout) -> float:
    """Return the latency of a layout without heads: what doing nothing takes, and each block as often as it runs."""
    node_ms = times.table.node_ms
    blocks = [sum(node_ms.get(node, 0.0) for node in block.nodes) for block in backbone.table("block").units]
    taken = sum(ms * len(groups) for ms, groups in zip(blocks, layout.blocks, strict=True))
    return times.latencies[0].p50_ms + taken


def _measured(
    backbone: Backbone,
    layouts: Sequence[Layout],
    settings: Settings,
    runtime: Runtime,
    options: ReadOptions,
    progress: Progress | None,
) -> list[tuple[Latency, float]]:
    """Measure the models of layouts in turns, a few at a time; with each, what the backbone alone took meanwhile."""
    found: list[tuple[Latency, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for number, layout in enumerate(layouts):
            model = lower(plan_of_layout(backbone, layout), backbone, {}).graph
            paths[str(number)] = write_onnx(model, Path(folder) / f"{number}.onnx", fold=True, reuse=False)
        whole = lower(all_shared(backbone, ["x"]), backbone, {}).graph
        alone = write_onnx(whole, Path(folder) / "alone.onnx", fold=True)
        names_left = list(paths)
        while names_left:
            names, names_left = names_left[:AT_ONCE], names_left[AT_ONCE:]
            seconds = settings.limit_seconds * len(names) / len(layouts)
            warm_up = min(settings.warm_up_limit_seconds, seconds / 2)
            share = replace(settings, limit_seconds=seconds, warm_up_limit_seconds=warm_up)
            groups = {"alone": [alone], **{name: [paths[name]] for name in names}}
            compared = bench_groups(groups, share, runtime=runtime, limits=options.limits, progress=progress)
            first, *others = compared.latencies
            found += [(latency, first.p50_ms) for latency in others]
    return found
