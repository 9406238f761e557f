"""Memory of reading: what a process grows by, from a file to a verified Graph and to its twin, next to the weights.

Each figure is the growth of a fresh process's highest resident set, after a first small network has loaded all
code. An ONNX file with its weights inside is held twice for a moment, as bytes and as tensors; weights beside the
file are mapped and cost nothing until they are read; a prototxt's are only described.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_suite.models import RESNET, TINY, backbone, light_heads, task_names
from bench_suite.result import Result, Target
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.blocks import find_blocks
from trunkline.ingest import zoo
from trunkline.sharing.layouts.plans import share_until
from trunkline.sharing.lowering.lower import lower

TWIN = Target(2.5, at_most=True)
LAZY = Target(0.25, at_most=True)
MB = 1e6

CHILD = """
import json, sys
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin

def highest_bytes():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024

Twin(read("zoo:tiny"))
start = highest_bytes()
graph = read(sys.argv[1])
read_bytes = highest_bytes() - start
twin = Twin(graph)
weights = sum(tensor.numel() * tensor.element_size() for tensor in twin.weights().values())
print(json.dumps({"read": read_bytes, "twin": highest_bytes() - start, "weights": weights}))
"""


def run(quick: bool) -> list[Result]:
    """Read three kinds of file, each in a process of its own; Linux tells what they hold."""
    if not Path("/proc/self/status").exists():
        return []
    net = TINY if quick else RESNET
    with tempfile.TemporaryDirectory() as folder:
        inside = _onnx_file(net, Path(folder) / "inside.onnx", external_bytes=2**40)
        beside = _onnx_file(net, Path(folder) / "beside.onnx", external_bytes=0)
        prototxt = zoo.path(net.removeprefix("zoo:"))
        return [
            *_results("ONNX, weights inside", inside, None),
            *_results("ONNX, weights beside", beside, LAZY),
            *_results("prototxt", prototxt, LAZY),
        ]


def _onnx_file(net: str, path: Path, *, external_bytes: int) -> Path:
    graph, tasks = backbone(net), task_names(2)
    blocks = [block.name for block in find_blocks(graph)]
    lowered = lower(share_until(graph, tasks, blocks[-2]), graph, light_heads(graph, tasks)).graph
    return write_onnx(lowered, path, fold=False, reuse=False, external_bytes=external_bytes)


def _results(name: str, path: Path, read_target: Target | None) -> list[Result]:
    command = [sys.executable, "-c", CHILD, str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    weights = found["weights"] / MB
    return [
        Result(f"{name}: {stage} / weights", found[key] / MB, weights, "MB", found[key] / MB / weights, None, target)
        for stage, key, target in (("read", "read", read_target), ("read and twin", "twin", TWIN))
    ]
