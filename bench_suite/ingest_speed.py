"""Reading models: from a file to a verified Graph, and from there to a trainable twin.

An ONNX file of about 100 MB is compared with what anybody has to do with a stranger's file, which is to load it
and to let ONNX check it. A chain of nodes, ten times as long, must not take much more than ten times as long.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx

from bench_suite.common import Series, in_turns, milliseconds
from bench_suite.models import RESNET, TINY, backbone, light_heads, task_names
from bench_suite.result import Result, Target, over, speed_up
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.blocks import find_blocks
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph
from trunkline.graph.verify import verify
from trunkline.ingest import zoo
from trunkline.ingest.read import read
from trunkline.sharing.layouts.plans import share_until
from trunkline.sharing.lowering.lower import lower

LINEAR = Target(1.5, at_most=True)


def run(quick: bool) -> list[Result]:
    """Measure stages one by one; files lie in a temporary folder."""
    rounds = 2 if quick else 15
    with tempfile.TemporaryDirectory() as folder:
        file = _onnx_file(TINY if quick else RESNET, Path(folder))
        prototxt = zoo.path((TINY if quick else RESNET).removeprefix("zoo:"))
        return [
            *_stages(f"{prototxt.stem}.prototxt", prototxt, rounds),
            *_stages(f"ONNX of {file.stat().st_size / 1e6:.0f} MB", file, rounds),
            _next_to_onnx(file, rounds),
            *_chains(Path(folder), quick),
        ]


def _stages(name: str, path: Path, rounds: int) -> list[Result]:
    from trunkline.twins.twin import Twin

    graph = read(path)
    stages = {
        "read, verified": lambda: read(path),
        "  of it verify": lambda: verify(graph),
        "read, then twin": lambda: Twin(read(path)),
    }
    series: dict[str, Series] = {stage: [] for stage in stages}
    for _ in range(rounds):
        for stage, work in stages.items():
            series[stage].append(milliseconds(work))
    return [Result(f"{name}: {stage}", float(np.median(times)), None, "ms") for stage, times in series.items()]


def _onnx_file(net: str, folder: Path) -> Path:
    """Write a model of two tasks that part in the last block, which for ResNet-34 makes about 100 MB."""
    graph, tasks = backbone(net), task_names(2)
    blocks = [block.name for block in find_blocks(graph)]
    plan = share_until(graph, tasks, blocks[-2])
    lowered = lower(plan, graph, light_heads(graph, tasks)).graph
    return write_onnx(lowered, folder / "model.onnx", fold=False, reuse=False)


def _next_to_onnx(file: Path, rounds: int) -> Result:
    def load_and_check() -> None:
        onnx.checker.check_model(onnx.load(file), full_check=True)

    theirs, ours = in_turns(load_and_check, lambda: read(file), rounds=rounds)
    return speed_up("  read (theirs: onnx.load and full check)", ours, theirs)


def _chains(folder: Path, quick: bool) -> list[Result]:
    short, factor = (20, 10) if quick else (2_000, 10)
    files = [_chain(folder, nodes) for nodes in (short, short * factor)]
    name = f"chain of {short * factor} nodes, time / {factor} x that of {short} nodes"
    first, second = in_turns(lambda: _ingest(files[0]), lambda: _ingest(files[1]), rounds=3, warm_up=0)
    return [over(name, second, [factor * time for time in first], target=LINEAR)]


def _ingest(file: Path) -> None:
    from trunkline.twins.twin import Twin

    graph = read(file)
    find_blocks(graph)
    Twin(graph)


def _chain(folder: Path, nodes: int) -> Path:
    """Write a chain in which convolutions and activations take turns."""
    graph = _chain_graph(nodes)
    return write_onnx(graph, folder / f"chain{nodes}.onnx", fold=False, reuse=False)


def _chain_graph(nodes: int) -> Graph:
    builder = GraphBuilder("chain")
    x = builder.image("image", (2, 4, 4))
    for index in range(nodes):
        name = f"node{index}"
        if index % 2:
            x = builder.node("Relu", [x], name=name)
        else:
            weight = builder.tensor(f"{name}.weight", np.full((2, 2, 1, 1), 0.5, dtype=np.float32))
            x = builder.node("Conv", [x, weight], name=name)
    return builder.finish([x])
