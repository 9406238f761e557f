"""Memory of ``convert``: what a process grows by, from a large ONNX file to the proved one, next to the weights.

The network is VGG-11 in shape, 507 MiB of weights, most of them in one matrix. A runtime needs the weights twice while
it loads a file, which is most of what is left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench_suite.result import Result, Target
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph

MOST = Target(3.0, at_most=True)
MB = 1e6

Settings = dict[str, int | float | str | Sequence[int] | Sequence[float]]

_STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))
_CHILD = """
import json, sys
from trunkline.verbs.convert import convert

def highest_bytes():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024

convert("zoo:tiny", sys.argv[2], parity_inputs=2)
start = highest_bytes()
convert(sys.argv[1], sys.argv[2], parity_inputs=4)
print(json.dumps({"growth": highest_bytes() - start}))
"""


def run(quick: bool) -> list[Result]:
    """Convert one file in a process of its own; Linux tells what it held."""
    if not Path("/proc/self/status").exists():
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = write_onnx(_vgg11(width=256 if quick else 4096), Path(folder) / "vgg11.onnx")
        command = [sys.executable, "-c", _CHILD, str(path), str(Path(folder) / "out.onnx")]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        weights = path.stat().st_size / MB
    growth = found["growth"] / MB
    return [Result("convert: growth / weights", growth, weights, "MB", growth / weights, None, MOST)]


def _vgg11(width: int) -> Graph:
    """Simonyan & Zisserman 2015, Table 1, configuration A, at 224x224."""
    net = GraphBuilder("vgg11")
    x, channels = net.image("image", (3, 224, 224)), 3
    for stage, widths in enumerate(_STAGES):
        for index, wide in enumerate(widths):
            name = f"conv{stage}_{index}"
            weight = net.weight(f"{name}.weight", (wide, channels, 3, 3), Filler("msra"))
            settings: Settings = {
                "kernel_shape": [3, 3],
                "pads": [1] * 4,
                "strides": [1, 1],
                "dilations": [1, 1],
                "group": 1,
            }
            x = net.node("Relu", [net.node("Conv", [x, weight], name=name, attributes=settings)], name=f"{name}.relu")
            channels = wide
        window: Settings = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4, "ceil_mode": 0}
        x = net.node("MaxPool", [x], name=f"pool{stage}", attributes=window)
    x, wide = net.node("Flatten", [x], name="flat", attributes={"axis": 1}), channels * 7 * 7
    for index, size in enumerate((width, width, 1000)):
        weights = [net.weight(f"fc{index}.weight", (size, wide), Filler("msra"))]
        weights.append(net.weight(f"fc{index}.bias", (size,), Filler("constant")))
        x, wide = net.node("Gemm", [x, *weights], name=f"fc{index}", attributes={"transB": 1}), size
    return net.finish([x])
