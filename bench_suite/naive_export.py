"""Latency of our export next to naive ones of the same multi-task model, on ONNX Runtime, one CPU thread.

The model shares the backbone up to a block, and behind it each task has its own. A program that knows nothing of
sharing runs one column after another, and leaves it to exporter and runtime to find what is equal:

- ``torch.onnx.export``: of a module whose columns hold the same tensors. torch's own passes find most of it.
- Conv + BatchNormalization: columns of nodes that read the same stored weights. ONNX Runtime folds each
  normalisation into weights of its own before it looks for equal nodes, and finds none.
- untied: columns of nodes whose weights are equal, but stored under different names, as N files joined have them.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench_suite.models import RESNET, TINY, backbone, light_heads, task_names
from bench_suite.result import Result, Target, speed_up
from trunkline.bench.compare import Comparison
from trunkline.bench.models import bench_groups
from trunkline.bench.settings import Settings
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.export.passes import Deduplicate
from trunkline.export.weights import completed, with_weights
from trunkline.graph.features import cut_graph
from trunkline.graph.graph import Graph
from trunkline.graph.passes.base import run_passes
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.lower import lower

if TYPE_CHECKING:
    from torch import nn

    from trunkline.twins.twin import Twin

OURS, TORCH, NORMALISED, UNTIED = "ours", "torch.onnx.export", "Conv + BatchNormalization", "untied"
NEVER_SLOWER = Target(0.98)
OF_THE_MACS = Target(0.95)


@dataclass(frozen=True, slots=True)
class Case:
    """A network, its image's height and width, the last shared block, numbers of tasks, and how to measure."""

    net: str
    size: tuple[int, int]
    block: str
    tasks: tuple[int, ...]
    settings: Settings


FULL = Case(
    RESNET,
    (128, 256),
    "stage3_block6_conv1",
    (2, 3, 5),
    Settings(minimum_samples=30, limit_seconds=60.0, warm_up_limit_seconds=15.0),
)
QUICK = Case(
    TINY,
    (32, 64),
    "stage2_block2_conv1",
    (2,),
    Settings(minimum_samples=11, minimum_seconds=0.0, warm_up_limit_seconds=1.0),
)


def run(quick: bool) -> list[Result]:
    """Write every file of each number of tasks, and measure them in turns."""
    case = QUICK if quick else FULL
    results = []
    for count in case.tasks:
        with tempfile.TemporaryDirectory() as folder:
            results += _results(count, _measured(case, count, Path(folder)))
    return results


def _measured(case: Case, count: int, folder: Path) -> Comparison:
    graph, tasks = Backbone(backbone(case.net, case.size)), task_names(count)
    heads = light_heads(graph.graph, tasks)
    plan = share_until(graph, tasks, case.block)
    block = graph.table("block").units[graph.table("block").number(case.block)]
    shared = set(cut_graph(graph.graph, [block.output]).initializers)
    columns = _columns(graph, tasks, heads, shared)
    tied = columns.copy()
    run_passes(tied.model.graph, [Deduplicate()])
    groups = {
        OURS: [write_onnx(lower(plan, graph, heads).graph, folder / "ours.onnx")],
        NORMALISED: [write_onnx(tied, folder / "normalised.onnx", fold=False, reuse=False)],
        UNTIED: [write_onnx(columns, folder / "untied.onnx", fold=True, reuse=False)],
        TORCH: [_traced(_tied_module(graph, tasks, heads, shared), case.size, folder / "torch.onnx")],
    }
    return bench_groups(groups, case.settings)


def _columns(graph: Backbone, tasks: list[str], heads: dict[str, Graph], shared: Collection[str]) -> Graph:
    """Return a model of one column for each task, equal in what they share and different behind it."""
    apart = lower(independent(graph, tasks), graph, heads).graph
    own = completed(apart, None)
    equal = {name: own[first] for name in own if (first := name.partition("@")[0]) in shared}
    return with_weights(apart, {**own, **equal})


def _tied_module(graph: Backbone, tasks: list[str], heads: dict[str, Graph], shared: Collection[str]) -> nn.Module:
    """Return a module that runs a column for each task, of which some tensors are the same."""
    from torch import nn

    from trunkline.twins.twin import Twin

    columns = [
        Twin(lower(all_shared(graph, [task]), graph, {task: heads[task]}).graph, seed=n) for n, task in enumerate(tasks)
    ]
    for column in columns[1:]:
        _tie(column, columns[0], shared)

    class Columns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.columns = nn.ModuleList(columns)

        def forward(self, image: object) -> dict[str, object]:
            return {task: column(image)[task] for task, column in zip(tasks, self.columns, strict=True)}

    return Columns().eval()


def _tie(column: Twin, first: Twin, shared: Collection[str]) -> None:
    theirs = {**first.trainable(), **first.statistics()}
    mine = {id(tensor): name for name, tensor in {**column.trainable(), **column.statistics()}.items()}
    for attribute, tensor in [*column.named_parameters(), *column.named_buffers()]:
        name = mine.get(id(tensor))
        if name is not None and name in shared:
            setattr(column, attribute, theirs[name])


def _traced(module: nn.Module, size: tuple[int, int], path: Path) -> Path:
    import torch

    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (torch.zeros(1, 3, *size),), path, dynamo=True, external_data=False, verbose=False
            )
    finally:
        logging.disable(logging.NOTSET)
    return path


def _results(count: int, comparison: Comparison) -> list[Result]:
    samples = {latency.name: list(latency.samples_ms) for latency in comparison.latencies}
    name = f"{count} tasks (theirs: {TORCH})"
    rows = [speed_up(name, samples[OURS], samples[TORCH], target=NEVER_SLOWER)]
    for naive in (NORMALISED, UNTIED):
        left = comparison.macs[OURS].total / comparison.macs[naive].total
        bound = [left * time for time in samples[naive]]
        rows.append(speed_up(f"{count} tasks (theirs: {naive})", samples[OURS], samples[naive]))
        rows.append(
            speed_up(f"  speed-up / MAC ratio, {left:.3f} of the MACs", samples[OURS], bound, target=OF_THE_MACS)
        )
    return rows
