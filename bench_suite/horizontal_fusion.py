"""Parallel convolutions as one: equal heads on a shared backbone, fused and not, on ONNX Runtime, one CPU thread.

The backbone is shared by all tasks, so the first layers of all heads read one map and their later layers run in
parallel. Ours is the file with these put side by side, theirs the same one without. It saves nodes and no
multiply-accumulates; there is no target, because the export has it off unless it is measured to pay.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench_suite.models import CHANNELS, RESNET, TINY, backbone, task_names
from bench_suite.result import Result, speed_up
from trunkline.bench.models import bench_groups
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.fragments.heads.make_head import make_head
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower

PLAIN, FUSED = "each its own nodes", "side by side"


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its image's height and width, numbers of tasks, and how to measure."""

    net: str
    size: tuple[int, int]
    tasks: tuple[int, ...]
    settings: Settings


FULL = Case(RESNET, (128, 256), (2, 3, 5), Settings(minimum_samples=30, limit_seconds=60.0, warm_up_limit_seconds=15.0))
QUICK = Case(TINY, (32, 64), (2, 3), Settings(minimum_samples=11, minimum_seconds=0.0, warm_up_limit_seconds=1.0))


def run(quick: bool) -> list[Result]:
    """Measure both files of each number of tasks in turns."""
    case = QUICK if quick else FULL
    return [_result(case, count) for count in case.tasks]


def _result(case: Case, count: int) -> Result:
    graph, tasks = backbone(case.net, case.size), task_names(count)
    heads = {task: make_head("aspp", graph, CHANNELS) for task in tasks}
    model = lower(all_shared(graph, tasks), graph, heads).graph
    with tempfile.TemporaryDirectory() as folder:
        groups = {
            name: [write_onnx(model, Path(folder) / f"{fuse}.onnx", fuse=fuse)]
            for name, fuse in ((PLAIN, False), (FUSED, True))
        }
        compared = bench_groups(groups, case.settings)
    samples = {latency.name: list(latency.samples_ms) for latency in compared.latencies}
    return speed_up(f"{count} tasks, {FUSED} (theirs: {PLAIN})", samples[FUSED], samples[PLAIN])
