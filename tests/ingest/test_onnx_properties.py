"""Properties: whatever small network is drawn, it reads, verifies and computes what onnxruntime computes; with one
defect put in, it ends in our error.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import assert_close, image, model, run, save, tensor, to_proto, weight

from trunkline.errors import InvalidModel, TrunklineError
from trunkline.graph.verify import verify
from trunkline.ingest.onnx_file.reader import read_onnx

pytestmark = pytest.mark.properties

SIZE = 8
OPSETS = (7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22, 23, 24)
UNARY = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSigmoid")
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Network:
    """A network drawn layer by layer; every value so far keeps its channels and its size."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[TensorProto] = []
        self.values = [("x", 3, SIZE)]

    def store(self, proto: TensorProto) -> str:
        self.stored.append(proto)
        return proto.name

    def node(self, op: str, inputs: list[str], channels: int, size: int, extra: int = 0, **attributes: object) -> None:
        name = f"v{len(self.nodes)}"
        outputs = [name, *(f"{name}_{i}" for i in range(extra))]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"n{len(self.nodes)}", **attributes))
        self.values.append((name, channels, size))


def _conv(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    group = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
    out = group * draw(st.integers(1, 3))
    kernel = draw(st.sampled_from([1, 2, 3]))
    padding = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER"]))
    stride = draw(st.sampled_from([1, 2])) if size >= 4 else 1
    inputs = [name, net.store(weight(f"w{len(net.nodes)}", out, channels // group, kernel, kernel))]
    if draw(st.booleans()):
        inputs.append(net.store(weight(f"b{len(net.nodes)}", out)))
    pads = {"pads": [kernel // 2] * 4} if padding == "pads" else {"auto_pad": padding}
    after = (size + 2 * (kernel // 2) - kernel) // stride + 1 if padding == "pads" else -(-size // stride)
    net.node("Conv", inputs, out, after, group=group, strides=[stride, stride], **pads)


def _pool(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    net.node(op, [name], channels, size, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _norm(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    rest = [net.store(weight(f"{part}{len(net.nodes)}", channels)) for part in ("scale", "shift", "mean")]
    variance = np.linspace(0.5, 2.0, channels)
    rest.append(net.store(tensor(f"var{len(net.nodes)}", variance, np.float32)))
    net.node("BatchNormalization", [name, *rest], channels, size)


def _unary(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    net.node(draw(st.sampled_from(UNARY)), [name], channels, size)


def _softmax(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    net.node("Softmax", [name], channels, size, axis=draw(st.sampled_from([1, 2, 3])))


def _dropout(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    net.node("Dropout", [name], channels, size, extra=draw(st.integers(0, 1)))


def _identity(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    net.node("Identity", [name], channels, size)


def _join(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    others = [value for value in net.values if value[2] == size]
    other = draw(st.sampled_from(others))
    if other[1] == channels and draw(st.booleans()):
        net.node(draw(st.sampled_from(["Add", "Mul", "Max", "Sum"])), [name, other[0]], channels, size)
    else:
        net.node("Concat", [name, other[0]], channels + other[1], size, axis=1)


def _channelwise(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    """A scale per channel, viewed to fit, as old exporters write it."""
    scale = net.store(weight(f"s{len(net.nodes)}", channels))
    view = f"view{len(net.nodes)}"
    if net.opset < 13:
        net.nodes.append(helper.make_node("Unsqueeze", [scale], [view], axes=[1, 2]))
    else:
        axes = net.store(tensor(f"a{len(net.nodes)}", [1, 2]))
        net.nodes.append(helper.make_node("Unsqueeze", [scale, axes], [view]))
    net.node("Mul", [name, view], channels, size)


def _shuffle(net: Network, draw: st.DrawFn, name: str, channels: int, size: int) -> None:
    """A Reshape whose sizes are computed from the shape."""
    count = len(net.nodes)
    shape, batch, target, flat = (f"{part}{count}" for part in ("shape", "batch", "target", "flat"))
    net.nodes.append(helper.make_node("Shape", [name], [shape]))
    net.nodes.append(helper.make_node("Gather", [shape, net.store(tensor(f"i{count}", [0]))], [batch], axis=0))
    rest = net.store(tensor(f"r{count}", [channels, -1]))
    net.nodes.append(helper.make_node("Concat", [batch, rest], [target], axis=0))
    net.nodes.append(helper.make_node("Reshape", [name, target], [flat]))
    back = net.store(tensor(f"k{count}", [0, channels, size, size]))
    net.node("Reshape", [flat, back], channels, size)


LAYERS = (_conv, _conv, _pool, _norm, _unary, _softmax, _dropout, _identity, _join, _channelwise, _shuffle)


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    net = Network(draw(st.sampled_from(OPSETS)))
    for _ in range(draw(st.integers(1, 8))):
        name, channels, size = net.values[-1] if draw(st.booleans()) else draw(st.sampled_from(net.values))
        draw(st.sampled_from(LAYERS))(net, draw, name, channels, size)
    written = [name for name, _, _ in net.values[1:]]
    outputs = (
        [written[-1], *draw(st.lists(st.sampled_from(written[:-1]), max_size=2, unique=True))]
        if written[:-1]
        else [written[-1]]
    )
    batch = draw(st.sampled_from(["batch", None]))
    return model(net.nodes, initializers=net.stored, shape=(batch, 3, SIZE, SIZE), outputs=outputs, opset=net.opset)


@pytest.mark.parametrize(
    "examples", [60, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["few", "many"]
)
def test_valid_network_agrees_with_onnxruntime(examples: int, tmp_path: Path) -> None:
    """A valid network is read, and computes what onnxruntime does."""

    @settings(SETTINGS, max_examples=examples)
    @given(networks())
    def holds(proto: onnx.ModelProto) -> None:
        graph = verify(read_onnx(save(proto, tmp_path)))
        ours = to_proto(graph)
        assert [value.name for value in ours.graph.output] == [value.name for value in proto.graph.output]
        for batch in (1, 2):
            x = image(batch, 3, SIZE, SIZE)
            assert_close(run(ours, x), run(proto, x))

    holds()


@pytest.mark.parametrize(
    "examples", [30, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["few", "many"]
)
def test_reading_twice_is_reading_once(examples: int, tmp_path: Path) -> None:
    @settings(SETTINGS, max_examples=examples)
    @given(networks())
    def holds(proto: onnx.ModelProto) -> None:
        first = to_proto(verify(read_onnx(save(proto, tmp_path))))
        second = to_proto(verify(read_onnx(save(first, tmp_path))))
        assert second.SerializeToString(deterministic=True) == first.SerializeToString(deterministic=True)

    holds()


def _missing_input(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.input[0] = "nowhere"


def _circle(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.input[0] = node.output[0]


def _duplicate_name(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.output[0] = "x"


def _unknown_operator(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.op_type = "Relux"


def _other_domain(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.domain = "com.example"


def _subgraph(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    graph = helper.make_graph([], "inner", [], [])
    node.attribute.append(helper.make_attribute("body", graph))


def _attribute(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    node.attribute.append(helper.make_attribute("colour", "red"))


def _wrong_rank(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    proto.graph.input[0].type.tensor_type.shape.dim.pop()


def _no_output(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    proto.graph.ClearField("output")


def _opset(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    proto.opset_import[0].version = 3


DEFECTS = (
    *(_missing_input, _circle, _duplicate_name, _unknown_operator, _other_domain, _subgraph, _attribute),
    *(_wrong_rank, _no_output, _opset),
)


@settings(SETTINGS, max_examples=120)
@given(proto=networks(), defect=st.sampled_from(DEFECTS), data=st.data())
def test_one_defect_ends_in_our_error(
    proto: onnx.ModelProto, defect: object, data: st.DataObject, tmp_path: Path
) -> None:
    node = data.draw(st.sampled_from(list(range(len(proto.graph.node)))))
    defect(proto, proto.graph.node[node])  # type: ignore[operator]
    with pytest.raises(InvalidModel) as caught:
        verify(read_onnx(save(proto, tmp_path)))
    assert caught.value.problems


@settings(SETTINGS, max_examples=150)
@given(proto=networks(), data=st.data())
def test_damaged_numbers_are_read_or_refused(proto: onnx.ModelProto, data: st.DataObject, tmp_path: Path) -> None:
    """Numbers are replaced by hostile ones, anywhere. What is still accepted must verify."""
    hostile = st.sampled_from([0, -1, 1, 2, 7, 2**31, 2**62, -(2**63), 2**63 - 1])
    node = proto.graph.node[data.draw(st.integers(0, len(proto.graph.node) - 1))]
    numbers = [a for a in node.attribute if a.type in (onnx.AttributeProto.INT, onnx.AttributeProto.INTS)]
    if numbers and data.draw(st.booleans()):
        chosen = data.draw(st.sampled_from(numbers))
        if chosen.type == onnx.AttributeProto.INT:
            chosen.i = data.draw(hostile)
        else:
            chosen.ints[data.draw(st.integers(0, len(chosen.ints) - 1))] = data.draw(hostile)
    elif proto.graph.initializer:
        stored = proto.graph.initializer[data.draw(st.integers(0, len(proto.graph.initializer) - 1))]
        if stored.data_type == TensorProto.INT64:
            values = np.frombuffer(stored.raw_data, np.int64).copy()
            values[data.draw(st.integers(0, len(values) - 1))] = data.draw(hostile)
            stored.raw_data = values.tobytes()
        else:
            stored.dims[0] = data.draw(hostile)
    try:
        verify(read_onnx(save(proto, tmp_path)))
    except TrunklineError as error:
        assert error.exit_code == 2
