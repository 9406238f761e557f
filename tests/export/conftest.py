"""Small networks of the shapes that export must get right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import TASKS_KEY, Graph


class Net(GraphBuilder):
    """A builder with conv-bn-relu, seeded weights and non-trivial BN statistics."""

    def __init__(self, name: str = "net", seed: int = 0) -> None:
        super().__init__(name)
        self.rng = np.random.default_rng(seed)
        self.kept: dict[str, tuple[list[ir.Value], list[ir.Value]]] = {}

    def draw(self, name: str, shape: Sequence[int], scale: float = 0.4) -> ir.Value:
        return self.tensor(name, np.asarray(self.rng.standard_normal(shape) * scale, np.float32))

    def weights(self, name: str, shape: Sequence[int], *, bias: bool = False) -> list[ir.Value]:
        values = [self.draw(f"{name}.weight", shape)]
        return [*values, self.draw(f"{name}.bias", shape[:1])] if bias else values

    def bn_weights(self, name: str, channels: int) -> list[ir.Value]:
        positive = self.rng.uniform(0.5, 2.0, (2, channels)).astype(np.float32)
        return [
            self.tensor(f"{name}.scale", positive[0]),
            self.draw(f"{name}.bias", (channels,)),
            self.draw(f"{name}.mean", (channels,)),
            self.tensor(f"{name}.var", positive[1]),
        ]

    def conv(
        self, x: ir.Value, weights: Sequence[ir.Value], name: str, *, tasks: str = "", **extra: object
    ) -> ir.Value:
        kernel = list(weights[0].shape)[2:]
        attributes = {"pads": [int(k) // 2 for k in kernel] * 2, "strides": [1, 1], **extra}
        return self.tagged("Conv", [x, *weights], name, tasks, attributes)

    def bn(self, x: ir.Value, weights: Sequence[ir.Value], name: str, *, tasks: str = "") -> ir.Value:
        return self.tagged("BatchNormalization", [x, *weights], name, tasks, {"epsilon": 1e-5, "momentum": 0.9})

    def tagged(
        self, op: str, inputs: Sequence[ir.Value | None], name: str, tasks: str, attributes: Mapping
    ) -> ir.Value:
        value = self.node(op, inputs, name=name, attributes=attributes)
        if tasks:
            value.producer().metadata_props[TASKS_KEY] = tasks
        return value

    def block(self, x: ir.Value, name: str, channels: int, *, tasks: str = "") -> ir.Value:
        """Conv-BN-ReLU with weights of its own."""
        y = self.conv(x, self.weights(name, (channels, x.shape[1], 3, 3)), name, tasks=tasks)
        y = self.bn(y, self.bn_weights(f"{name}.bn", channels), f"{name}.bn", tasks=tasks)
        return self.tagged("Relu", [y], f"{name}.relu", tasks, {})


def columns(*, tied: bool, shared: int = 2, own: int = 1, tasks: Sequence[str] = ("depth", "seg")) -> Graph:
    """A naive two-task net: every task its whole column, the first ``shared`` blocks equal by weight.

    ``tied`` columns read the same initializers; untied ones read equal copies under other names.
    """
    outputs = []
    net = Net("columns")
    image = net.image("image", (3, 12, 16))
    for task in tasks:
        x = image
        for index in range(shared):
            x = _shared_block(net, x, f"block{index}", task, first=tasks[0], tied=tied)
        for index in range(own):
            x = net.block(x, f"head.{task}.{index}", 4, tasks=task)
        outputs.append(net.conv(x, net.weights(f"head.{task}.out", (2, 4, 1, 1), bias=True), task, tasks=task))
    return net.finish(outputs)


def _shared_block(net: Net, x: ir.Value, name: str, task: str, *, first: str, tied: bool) -> ir.Value:
    rng, net.rng = net.rng, np.random.default_rng(len(name) + ord(name[-1]))
    prefix = name if task == first else f"{name}~{task}"
    if not tied or task == first:
        net.kept[name] = net.weights(prefix, (4, x.shape[1], 3, 3)), net.bn_weights(f"{prefix}.bn", 4)
    weights, norm = net.kept[name]
    net.rng = rng
    y = net.bn(net.conv(x, weights, prefix, tasks=task), norm, f"{prefix}.bn", tasks=task)
    return net.tagged("Relu", [y], f"{prefix}.relu", task, {})


def ops(graph: Graph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in graph.nodes:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts


def ort_run(
    model: Graph | onnx.ModelProto | bytes, image: np.ndarray, *, optimise: bool = False
) -> dict[str, np.ndarray]:
    """Run a model in onnxruntime, by default without its graph optimiser, and return outputs by name."""
    ort = pytest.importorskip("onnxruntime")
    if isinstance(model, Graph):
        model = ir.to_proto(model.model)
    content = model if isinstance(model, bytes) else model.SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: image}), strict=True))


def picture(shape: Sequence[int] = (2, 3, 12, 16), seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Nets:
    """What the tests of this folder share, handed out as one fixture."""

    Net = Net
    Filler = Filler
    columns = staticmethod(columns)
    ops = staticmethod(ops)
    run = staticmethod(ort_run)
    picture = staticmethod(picture)


@pytest.fixture
def nets() -> type[Nets]:
    return Nets
