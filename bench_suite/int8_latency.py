"""8-bit integers and sharing together, on ONNX Runtime, one CPU thread: N float32 models against one int8 file.

Weights are drawn, which decides nothing about time; what int8 costs trained tasks is in ``docs/precision.md``. The
targets are for processors with VNNI instructions.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench_suite.models import RESNET, TINY, backbone, light_heads, task_names
from bench_suite.result import Result, Target, speed_up
from trunkline.bench.models import bench_groups
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.export.precision.int8 import Int8Settings, find_ranges
from trunkline.export.precision.int8_file import export_int8
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower

APART, SHARED, INT8 = "a float32 model for each task", "shared, float32", "shared, int8"
_IMAGES = 8


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its image's height and width, the number of tasks, and how to measure."""

    net: str
    size: tuple[int, int]
    tasks: int
    settings: Settings


FULL = Case(RESNET, (128, 256), 5, Settings(minimum_samples=21, limit_seconds=90.0, warm_up_limit_seconds=15.0))
QUICK = Case(TINY, (32, 64), 3, Settings(minimum_samples=11, minimum_seconds=0.0, warm_up_limit_seconds=1.0))


def run(quick: bool) -> list[Result]:
    """Write the files and measure them in turns."""
    case = QUICK if quick else FULL
    graph, tasks = backbone(case.net, case.size), task_names(case.tasks)
    heads = light_heads(graph, tasks)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = [
            write_onnx(lower(all_shared(graph, [task]), graph, {task: heads[task]}).graph, folder / f"{task}.onnx")
            for task in tasks
        ]
        shared = write_onnx(lower(all_shared(graph, tasks), graph, heads).graph, folder / "shared.onnx")
        compared = bench_groups({APART: alone, SHARED: [shared], INT8: [_int8(shared, case)]}, case.settings)
    samples = {latency.name: list(latency.samples_ms) for latency in compared.latencies}
    return [
        speed_up(f"{case.tasks} tasks, {SHARED} (theirs: {APART})", samples[SHARED], samples[APART]),
        speed_up(f"{case.tasks} tasks, {INT8} (theirs: {SHARED})", samples[INT8], samples[SHARED], target=Target(3.0)),
        speed_up(f"{case.tasks} tasks, {INT8} (theirs: {APART})", samples[INT8], samples[APART], target=Target(10.0)),
    ]


def _int8(model: Path, case: Case) -> Path:
    generator = np.random.default_rng(0)
    images = [generator.standard_normal((1, 3, *case.size)).astype(np.float32) for _ in range(_IMAGES)]
    ranges = find_ranges(model, images, Int8Settings())
    return export_int8(ranges, model.with_suffix(".int8.onnx"), (), images[:2]).path
