"""Latency of exported multi-task models on ONNX Runtime, one CPU thread, next to their work.

The baseline is one session per task, run one after another. Two kinds of rows follow for each way of sharing:
its speed-up over that, and how the speed-up compares with the work that is saved (1: every multiply-accumulate
saved is time saved). A third part shows why the exporter's passes are needed: a file in which every task has its
own nodes, with weights that are equal but stored under different names, before and after them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_suite.common import Series
from bench_suite.models import CHANNELS, RESNET, TINY, backbone, light_heads, task_names
from bench_suite.result import Result, Target, over, speed_up
from trunkline.bench.compare import Comparison
from trunkline.bench.models import bench_groups
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.export.weights import completed, with_weights
from trunkline.graph.graph import Graph
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.units import find_units
from trunkline.verbs.build import Sharing, build

INDEPENDENT, SHARED, NAIVE, RECOVERED = "independent", "fully shared", "own nodes, equal weights", "the same, exported"
FULLY_SHARED_TARGET = Target(0.95)
TREE_TARGET = Target(1.05, at_most=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """A network, its image's height and width, last shared blocks, numbers of tasks, and how to measure.

    The trees part a first time after the first or second of the three blocks, and for good after the third.
    """

    net: str
    size: tuple[int, int]
    blocks: tuple[str, str, str]
    tasks: tuple[int, ...]
    settings: Settings


FULL = Plan(
    RESNET,
    (128, 256),
    ("stage1_block3_conv1", "stage2_block4_conv1", "stage3_block6_conv1"),
    (2, 3, 5),
    Settings(minimum_samples=30, limit_seconds=60.0, warm_up_limit_seconds=15.0),
)
QUICK = Plan(
    TINY,
    (32, 64),
    ("stage1_block1_conv1", "stage2_block1_shortcut", "stage2_block2_conv1"),
    (3,),
    Settings(minimum_samples=11, minimum_seconds=0.0, warm_up_limit_seconds=1.0),
)


def run(quick: bool) -> list[Result]:
    """Build every model into a temporary folder and measure those of one task count together."""
    plan = QUICK if quick else FULL
    results = []
    for count in plan.tasks:
        with tempfile.TemporaryDirectory() as folder:
            results += _results(count, _measured(plan, count, Path(folder)))
    return results


def _measured(plan: Plan, count: int, folder: Path) -> Comparison:
    tasks = task_names(count)
    groups = {INDEPENDENT: [_built(plan, [task], folder, Sharing(independent=True)) for task in tasks]}
    groups |= {name: [_built(plan, tasks, folder, sharing)] for name, sharing in _sharings(plan, tasks, folder).items()}
    groups |= _equal_weights(plan, tasks, folder)
    return bench_groups(groups, plan.settings)


def _sharings(plan: Plan, tasks: list[str], folder: Path) -> dict[str, Sharing]:
    """Return what competes with independent sessions, the trees only where there are tasks enough for one."""
    sharings = {f"share until {block}": Sharing(share_until=block) for block in plan.blocks}
    if len(tasks) > 2:
        sharings["tree of halves"] = _tree(plan, tasks, folder / "halves.json", sides=2, first=plan.blocks[0])
        pairs = (len(tasks) + 1) // 2
        sharings["tree of pairs"] = _tree(plan, tasks, folder / "pairs.json", sides=pairs, first=plan.blocks[1])
    return sharings | {SHARED: Sharing(all_shared=True)}


def _tree(plan: Plan, tasks: list[str], file: Path, *, sides: int, first: str) -> Sharing:
    """All tasks share up to ``first``; then each of ``sides`` groups up to the last block; then nobody."""
    names = [unit.name for unit in find_units(backbone(plan.net), "block")]
    groups = [tasks[side::sides] for side in range(sides)]
    alone = [[task] for task in tasks]
    whole, parted = names.index(first), names.index(plan.blocks[-1])
    rest = len(names) - parted - 1
    layout = [[tasks]] * (whole + 1) + [groups] * (parted - whole) + [alone] * rest
    file.write_text(json.dumps(layout), encoding="utf-8")
    return Sharing(layout=file)


def _built(plan: Plan, tasks: Sequence[str], folder: Path, sharing: Sharing) -> Path:
    path = folder / f"model{len(list(folder.iterdir()))}.onnx"
    channels = dict.fromkeys(tasks, CHANNELS)
    return build(plan.net, path, tasks=channels, sharing=sharing, input_size=plan.size, fold=True).path


def _equal_weights(plan: Plan, tasks: list[str], folder: Path) -> dict[str, list[Path]]:
    """Write what N separate exports of one trained backbone amount to, in one file: as it is, and exported."""
    graph = _with_equal_weights(plan, tasks)
    naive = write_onnx(graph, folder / "naive.onnx", fold=False, reuse=False)
    return {NAIVE: [naive], RECOVERED: [write_onnx(graph, folder / "recovered.onnx")]}


def _with_equal_weights(plan: Plan, tasks: list[str]) -> Graph:
    graph = backbone(plan.net, plan.size)
    apart = lower(independent(graph, tasks), graph, light_heads(graph, tasks)).graph
    own = completed(apart, None)
    return with_weights(apart, {name: own[name.partition("@")[0]] for name in own})


def _results(count: int, comparison: Comparison) -> list[Result]:
    samples = {latency.name: list(latency.samples_ms) for latency in comparison.latencies}
    rows = []
    for name, times in samples.items():
        if name in (INDEPENDENT, NAIVE):
            continue
        baseline = NAIVE if name == RECOVERED else INDEPENDENT
        left = comparison.macs[name].total / comparison.macs[baseline].total
        rows.append(speed_up(f"{count} tasks, {name} (theirs: {baseline})", times, samples[baseline]))
        rows.append(_next_to_work(name, times, [left * time for time in samples[baseline]], left))
    return rows


def _next_to_work(name: str, times: Series, bound: Series, left: float) -> Result:
    """Compare times with their bound, the baseline's times in proportion to the work that is ``left``."""
    work = f"{left:.3f} of the MACs"
    if name in (SHARED, RECOVERED):
        return speed_up(f"  speed-up / MAC ratio, {work}", times, bound, target=FULLY_SHARED_TARGET)
    return over(f"  time / MAC bound, {work}", times, bound, target=TREE_TARGET)
