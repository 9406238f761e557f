"""The models that the benchmarks run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.graph import Graph
from trunkline.ingest.backbone import read_backbone

CHANNELS = 16
RESNET = "zoo:deeplab_resnet34"
TINY = "zoo:tiny"


def backbone(name: str, size: tuple[int, int] | None = None) -> Graph:
    """Return a packaged backbone up to its features."""
    return read_backbone(name, input_size=size)


def task_names(count: int) -> list[str]:
    """Return ``task1``, ``task2`` and so on."""
    return [f"task{index + 1}" for index in range(count)]


def light_heads(graph: Graph, tasks: Sequence[str]) -> dict[str, Graph]:
    """Return a light head for each task."""
    return {task: make_head("light", graph, CHANNELS) for task in tasks}


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads inside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
