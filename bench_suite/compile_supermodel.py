"""From a prototxt to the 5-task AutoMTL supermodel, next to the 0.6 s that the paper reports.

The paper's figure (AutoMTL, Zhang et al. 2022) is from other hardware, so the ratio says no more than that the
order of magnitude is right. Heads are light ones; weights are drawn, and each task's copies made.
"""

from __future__ import annotations

import time

import numpy as np

from bench_suite.common import Series
from bench_suite.models import backbone, light_heads, task_names
from bench_suite.result import Result, against

PAPER_S = 0.6
NETS = ("deeplab_resnet34", "mobilenetv2", "mnasnet")
TASKS = task_names(5)
STAGES = ("read", "heads", "build")


def run(quick: bool) -> list[Result]:
    """Measure wall time with torch's default threads, as a user sees it."""
    rounds = 2 if quick else 15
    return [result for net in (NETS[1:2] if quick else NETS) for result in _results(net, rounds)]


def _results(net: str, rounds: int) -> list[Result]:
    _compile(net)
    stages = list(zip(*(_compile(net) for _ in range(rounds)), strict=True))
    totals: Series = [sum(parts) for parts in zip(*stages, strict=True)]
    rows = [against(f"{net} (theirs: the paper's, other hardware)", totals, PAPER_S, "s")]
    rows += [Result(f"  of it {s}", float(np.median(t)), None, "s") for s, t in zip(STAGES, stages, strict=True)]
    return rows


def _compile(net: str) -> tuple[float, float, float]:
    """Compile once, everything anew, and return the seconds of each stage."""
    from trunkline.sharing.backbone import Backbone
    from trunkline.supermodel.methods.automtl import AutoMTLModel, AutoMTLOptions, space_of

    start = time.perf_counter()
    graph = backbone(f"zoo:{net}")
    after_read = time.perf_counter()
    heads = light_heads(graph, TASKS)
    after_heads = time.perf_counter()
    options = AutoMTLOptions()
    AutoMTLModel(space_of(Backbone(graph), TASKS, options), heads, options, seed=0)
    return after_read - start, after_heads - after_read, time.perf_counter() - after_heads
