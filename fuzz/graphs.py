"""The ONNX reader on whole networks: a valid one is read and computes what it did; one defect is refused.

An input is a number; the network, and the defect if any, follow from it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from fuzz.target import Target
from trunkline.errors import InvalidModel
from trunkline.ingest.read import read as read_file

Array = np.ndarray[Any, Any]
Values = list[tuple[str, int, int, int]]

OPSETS = (9, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22)
TOLERANCE = 1e-4


class Network:
    """A network under construction; ``values`` holds name, channels, height and width of all that can be read."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.opset = rng.choice(OPSETS)
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[TensorProto] = []
        self.image = (rng.randint(1, 4), rng.randint(5, 12), rng.randint(5, 12))
        self.values: Values = [("x", *self.image)]

    def weight(self, *shape: int, positive: bool = False) -> str:
        """Store a random weight and return its name."""
        name = f"w{len(self.stored)}"
        values = np.random.default_rng(self.rng.getrandbits(32)).standard_normal(shape)
        self.stored.append(
            numpy_helper.from_array((np.abs(values) + 0.1 if positive else values).astype(np.float32), name)
        )
        return name

    def ints(self, *values: int) -> str:
        """Store whole numbers and return their name."""
        name = f"i{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def add(self, op: str, inputs: list[str], channels: int, height: int, width: int, **attributes: Any) -> None:
        """Add a node whose result has this shape."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"n{len(self.nodes)}", **attributes))
        self.values.append((name, channels, height, width))


def convolution(net: Network, name: str, c: int, h: int, w: int) -> None:
    """Any kernel, stride, dilation, group and padding that leaves something."""
    rng = net.rng
    kernel = [rng.randint(1, min(3, h)), rng.randint(1, min(3, w))]
    pads = [rng.randint(0, 2) for _ in range(4)]
    strides = [rng.randint(1, 2), rng.randint(1, 2)]
    group = rng.choice([g for g in range(1, c + 1) if c % g == 0])
    out = group * rng.randint(1, 3)
    inputs = [name, net.weight(out, c // group, *kernel)]
    if rng.random() < 0.5:
        inputs.append(net.weight(out))
    sizes = [(size + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i, size in enumerate((h, w))]
    net.add("Conv", inputs, out, *sizes, kernel_shape=kernel, pads=pads, strides=strides, group=group)


def normalisation(net: Network, name: str, c: int, h: int, w: int) -> None:
    """BatchNormalization as it is used, in inference form."""
    inputs = [name, net.weight(c), net.weight(c), net.weight(c), net.weight(c, positive=True)]
    net.add("BatchNormalization", inputs, c, h, w, epsilon=net.rng.choice([1e-5, 1e-3]))


def activation(net: Network, name: str, c: int, h: int, w: int) -> None:
    """An element-wise function."""
    op = net.rng.choice(["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSigmoid", "Identity"])
    net.add(op, [name], c, h, w)


def bounded(net: Network, name: str, c: int, h: int, w: int) -> None:
    """Clip in the form of its opset."""
    if net.opset < 11:
        net.add("Clip", [name], c, h, w, min=0.0, max=6.0)
        return
    for value in (0.0, 6.0):
        net.stored.append(numpy_helper.from_array(np.array(value, np.float32), f"c{len(net.stored)}"))
    net.add("Clip", [name, net.stored[-2].name, net.stored[-1].name], c, h, w)


def pooling(net: Network, name: str, c: int, h: int, w: int) -> None:
    """A window with any stride, rounded either way."""
    rng = net.rng
    kernel, stride = rng.randint(1, min(3, h, w)), rng.randint(1, 2)
    pad = rng.randint(0, kernel - 1) if kernel > 1 else 0
    attributes: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    op = rng.choice(["MaxPool", "AveragePool"])
    if op == "AveragePool" and rng.random() < 0.5:
        attributes["count_include_pad"] = 1
    sizes = [(size + 2 * pad - kernel) // stride + 1 for size in (h, w)]
    net.add(op, [name], c, *sizes, **attributes)


def mean(net: Network, name: str, c: int, h: int, w: int) -> None:
    """Global pooling."""
    net.add(net.rng.choice(["GlobalAveragePool", "GlobalMaxPool"]), [name], c, 1, 1)


def join(net: Network, name: str, c: int, h: int, w: int) -> None:
    """Sum, product or concatenation with another value of the same size."""
    fits = [value for value in net.values if value[2:] == (h, w)]
    other, channels, *_ = net.rng.choice(fits)
    if channels == c and net.rng.random() < 0.6:
        net.add(net.rng.choice(["Add", "Mul", "Sub", "Max", "Sum"]), [name, other], c, h, w)
    else:
        net.add("Concat", [name, other], c + channels, h, w, axis=net.rng.choice([1, -3]))


def scaled(net: Network, name: str, c: int, h: int, w: int) -> None:
    """A factor per channel."""
    net.add(net.rng.choice(["Mul", "Add"]), [name, net.weight(c, 1, 1)], c, h, w)


def padded(net: Network, name: str, c: int, h: int, w: int) -> None:
    """Pad in the form of its opset."""
    pads = [net.rng.randint(0, 2) for _ in range(4)]
    full = [0, 0, pads[0], pads[1], 0, 0, pads[2], pads[3]]
    sizes = (h + pads[0] + pads[2], w + pads[1] + pads[3])
    mode = net.rng.choice(["constant", "edge", *(["reflect"] if max(pads) < min(h, w) else [])])
    if net.opset < 11:
        net.add("Pad", [name], c, *sizes, pads=full, mode=mode)
    else:
        net.add("Pad", [name, net.ints(*full)], c, *sizes, mode=mode)


def reshaped(net: Network, name: str, c: int, h: int, w: int) -> None:
    """Exchange height and width, by Reshape or Transpose."""
    if net.rng.random() < 0.5:
        net.add("Reshape", [name, net.ints(0, c, w, h)], c, w, h)
    else:
        net.add("Transpose", [name], c, w, h, perm=[0, 1, 3, 2])


LAYERS = (
    *(convolution, convolution, convolution, normalisation, activation, activation, bounded, pooling, pooling),
    *(mean, join, join, scaled, padded, reshaped),
)


def network(rng: Random) -> onnx.ModelProto:
    """Return a valid network."""
    net = Network(rng)
    for _ in range(rng.randint(1, 9)):
        rng.choice(LAYERS)(net, *rng.choice(net.values[-3:]))
    read = {name for node in net.nodes for name in node.input}
    outputs = {name for name, *_ in net.values[1:] if name not in read or rng.random() < 0.1}
    graph = helper.make_graph(
        net.nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rng.choice(["N", 1, None]), *net.image])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in sorted(outputs)],
        net.stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)], ir_version=8)


def _node(proto: onnx.ModelProto, rng: Random) -> onnx.NodeProto:
    chosen: onnx.NodeProto = rng.choice(proto.graph.node)
    return chosen


def _set(field: str, value: Any) -> Callable[[onnx.ModelProto, Random], None]:
    return lambda proto, rng: setattr(_node(proto, rng), field, value)


def _reads(value: str) -> Callable[[onnx.ModelProto, Random], None]:
    return lambda proto, rng: _node(proto, rng).input.__setitem__(0, value)


def _circle(proto: onnx.ModelProto, rng: Random) -> None:
    node = _node(proto, rng)
    node.input[0] = node.output[0]


def _overwrites(proto: onnx.ModelProto, rng: Random) -> None:
    _node(proto, rng).output[0] = "x"


def _attribute(proto: onnx.ModelProto, rng: Random) -> None:
    _node(proto, rng).attribute.append(helper.make_attribute("colour", "red"))


def _subgraph(proto: onnx.ModelProto, rng: Random) -> None:
    _node(proto, rng).attribute.append(helper.make_attribute("body", helper.make_graph([], "inner", [], [])))


def _rank(proto: onnx.ModelProto, rng: Random) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim.pop()


def _image(size: int) -> Callable[[onnx.ModelProto, Random], None]:
    return lambda proto, rng: setattr(
        proto.graph.input[0].type.tensor_type.shape.dim[rng.randint(1, 3)], "dim_value", size
    )


def _opset(version: int) -> Callable[[onnx.ModelProto, Random], None]:
    return lambda proto, rng: setattr(proto.opset_import[0], "version", version)


def _cleared(field: str) -> Callable[[onnx.ModelProto, Random], None]:
    return lambda proto, rng: proto.graph.ClearField(field)


def _output(proto: onnx.ModelProto, rng: Random) -> None:
    proto.graph.output[0].name = "ghost"


def _weight(change: Callable[[TensorProto, Random], object]) -> Callable[[onnx.ModelProto, Random], None]:
    def spoil(proto: onnx.ModelProto, rng: Random) -> None:
        if not proto.graph.initializer:
            proto.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "unused"))
        change(rng.choice(proto.graph.initializer), rng)

    return spoil


def _misfit(proto: onnx.ModelProto, rng: Random) -> None:
    """Another node of the image, with an operand of the wrong length."""
    channels = proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    misfits: list[tuple[str, list[tuple[int, ...]]]] = [
        ("Conv", [(2, channels, 1, 1), (3,)]),
        ("Conv", [(2, channels, 1, 1), (1,)]),
        ("ConvTranspose", [(channels, 2, 1, 1), (3,)]),
        ("InstanceNormalization", [(channels + 1,), (channels + 1,)]),
        ("PRelu", [(channels + 1, 1, 1)]),
    ]
    op, shapes = rng.choice(misfits)
    names = [f"misfit.{index}" for index in range(len(shapes))]
    for name, shape in zip(names, shapes, strict=True):
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    proto.graph.node.append(helper.make_node(op, ["x", *names], ["misfit"]))
    proto.graph.output.append(helper.make_tensor_value_info("misfit", TensorProto.FLOAT, None))


DEFECTS: Mapping[str, Callable[[onnx.ModelProto, Random], object]] = {
    "missing input": _reads("nowhere"),
    "circle": _circle,
    "image overwritten": _overwrites,
    "unknown operator": _set("op_type", "Relux"),
    "operator of no name": _set("op_type", ""),
    "other domain": _set("domain", "com.example"),
    "control flow": _set("op_type", "If"),
    "quantised": _set("op_type", "QLinearConv"),
    "sequence": _set("op_type", "SequenceInsert"),
    "unknown attribute": _attribute,
    "subgraph": _subgraph,
    "image of three axes": _rank,
    "image of no height": _image(0),
    "image of negative height": _image(-3),
    "endless image": _image(2**40),
    "opset 1": _opset(1),
    "opset 999": _opset(999),
    "no outputs": _cleared("output"),
    "no nodes": _cleared("node"),
    "no image": _cleared("input"),
    "ghost output": _output,
    "weight twice": lambda proto, rng: proto.graph.initializer.extend([numpy_helper.from_array(np.ones(1), "x")]),
    "weight of text": _weight(lambda tensor, rng: setattr(tensor, "data_type", TensorProto.STRING)),
    "weight of no type": _weight(lambda tensor, rng: setattr(tensor, "data_type", 99)),
    "weight cut short": _weight(lambda tensor, rng: setattr(tensor, "raw_data", tensor.raw_data[:-1])),
    "weight of other size": _weight(lambda tensor, rng: tensor.dims.append(7)),
    "weight 2^40": _weight(lambda tensor, rng: tensor.dims.append(2**40)),
    "weight without a name": _weight(lambda tensor, rng: setattr(tensor, "name", "")),
    "operand that does not fit": _misfit,
    "weight elsewhere": _weight(lambda tensor, rng: setattr(tensor, "data_location", TensorProto.EXTERNAL)),
}
"""Each makes any valid network invalid."""


def read(data: bytes) -> None:
    """Make the network of a number; where it is valid, compare what it computes before and after reading."""
    rng = Random(data)
    proto = network(rng)
    if rng.random() < 0.5:
        _valid(proto, rng)
        return
    name = rng.choice(list(DEFECTS))
    DEFECTS[name](proto, rng)
    _read(proto)
    raise AssertionError(f"accepted a network with a defect: {name}")


def _valid(proto: onnx.ModelProto, rng: Random) -> None:
    try:
        ours = _read(proto)
    except InvalidModel as error:
        raise AssertionError(f"refused a valid network: {error}") from error
    batch = proto.graph.input[0].type.tensor_type.shape.dim[0]
    for size in (1,) if batch.dim_value else (1, 3):
        shape = [size, *(dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim[1:])]
        image = np.random.default_rng(rng.getrandbits(32)).standard_normal(shape).astype(np.float32)
        for name, expected in _run(proto, image).items():
            found = _run(ours, image)[name]
            scale = max(1.0, float(np.abs(expected).max(initial=0)))
            if found.shape != expected.shape or not np.allclose(
                found, expected, atol=TOLERANCE * scale, rtol=TOLERANCE
            ):
                raise AssertionError(f"{name} differs after reading")


def _read(proto: onnx.ModelProto) -> onnx.ModelProto:
    path = _folder() / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return ir.to_proto(read_file(path).model)


def _run(proto: onnx.ModelProto, image: Array) -> dict[str, Array]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # what the file says, nothing else
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": image}), strict=True))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="trunkline-fuzz-"))


def seeds() -> tuple[bytes, ...]:
    """Return a number; every other follows from it."""
    return (b"0",)


def mutate(data: bytes, other: bytes, rng: Random) -> bytes:
    """Return another number."""
    return str(rng.getrandbits(63)).encode()


TARGET = Target("graphs", read, seeds, mutate, "trunkline/ingest", guided=False)
