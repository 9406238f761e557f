"""Making a multi-task Graph ready for export, next to torch.onnx.export (dynamo) of its eager twin.

Ours deduplicates weights, finds reuse, folds BatchNormalization and assembles the ONNX model; theirs traces the
twin, which is built beforehand. Neither writes a file.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

from bench_suite.common import in_turns
from bench_suite.models import RESNET, TINY, backbone, light_heads, task_names
from bench_suite.result import Result, Target, speed_up
from trunkline.export.formats.onnx_model import finished
from trunkline.graph.graph import Graph
from trunkline.sharing.layouts.plans import independent
from trunkline.sharing.lowering.lower import lower

if TYPE_CHECKING:
    from trunkline.twins.twin import Twin

TARGET = Target(4.0)


def run(quick: bool) -> list[Result]:
    """Compare on tasks that hold their own backbones: the most weights there are."""
    from trunkline.twins.twin import Twin

    count, rounds = (2, 1) if quick else (5, 3)
    graph = _model(TINY if quick else RESNET, count)
    _trace(Twin(_model(TINY, 1)))  # the exporter loads itself at first use
    finished(graph)  # and weights are drawn at first use
    twin = Twin(graph)
    ours, theirs = in_turns(lambda: finished(graph), lambda: _trace(twin), rounds=rounds, warm_up=0)
    return [speed_up(f"{count} independent tasks, {graph.name}", ours, theirs, target=TARGET)]


def _model(net: str, count: int) -> Graph:
    graph, tasks = backbone(net), task_names(count)
    return lower(independent(graph, tasks), graph, light_heads(graph, tasks)).graph


def _trace(twin: Twin) -> None:
    import torch

    image = torch.zeros(1, *(int(size or 1) for size in twin.image_shape[1:]))
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(twin.eval(), (image,), dynamo=True, verbose=False)
    finally:
        logging.disable(logging.NOTSET)
