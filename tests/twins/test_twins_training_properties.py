"""Properties: a twin of every family of windows, norms and activations trains, compiles whole and runs in bf16."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from arrays import floats
from one_node import by_onnxruntime, normal
from onnx import TensorProto, helper, numpy_helper
from parameters import parameter_count

from trunkline.graph.verify import verify
from trunkline.ingest.read import read
from trunkline.twins.twin import Twin

pytest.importorskip("onnxruntime")

X = normal(2, 4, 12, 10)
ACTIVATIONS = (
    *("Relu", "LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Sigmoid", "Tanh"),
    *("Softplus", "Softsign", "Gelu", "Mish", "Shrink", "Softmax", "LogSoftmax"),
)


class Writer:
    """Writes a chain of nodes, each reading the one before."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[TensorProto] = []
        self.last = "x"

    def add(
        self, op: str, *stored: Any, outputs: Sequence[str] = (), data: Sequence[str] = (), **attributes: Any
    ) -> str:
        """Append a node; ``stored`` are its further inputs, ``None`` for one that is absent."""
        name = f"{op.lower()}{len(self.nodes)}"
        inputs = [*(data or [self.last])]
        for index, array in enumerate(stored):
            inputs.append("" if array is None else f"{name}.{index}")
            if array is not None:
                self.tensors.append(numpy_helper.from_array(array, inputs[-1]))
        self.nodes.append(helper.make_node(op, inputs, list(outputs) or [name], name=name, **attributes))
        self.last = self.nodes[-1].output[0]
        return self.last

    def model(self, opset: int) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *X.shape[1:]])
        result = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "net", [image], [result], self.tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def windows() -> onnx.ModelProto:
    net = Writer()
    net.add("Conv", 0.3 * normal(6, 4, 3, 2), normal(6), auto_pad="SAME_LOWER")
    net.add("AveragePool", kernel_shape=[2, 3], dilations=[2, 1], pads=[1, 0, 1, 2], ceil_mode=1, strides=[1, 2])
    net.add("ConvTranspose", 0.3 * normal(6, 4, 3, 3), strides=[1, 2], output_shape=[12, 10])
    pooled = net.add("MaxPool", outputs=("pooled", "at"), kernel_shape=[2, 2], strides=[2, 2])
    net.add("MaxUnpool", data=[pooled, "at"], kernel_shape=[2, 2], strides=[2, 2])
    net.add("LpPool", kernel_shape=[3, 2], p=2, pads=[2, 0, 1, 1], strides=[2, 1])
    net.add("MaxPool", kernel_shape=[3, 3], pads=[2, 2, 1, 0], dilations=[1, 2])
    net.add("Resize", None, floats(1, 1, 2.5, 1.5), mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1)
    net.add("Resize", None, floats(1, 1, 0.5, 0.5), mode="linear", antialias=1)
    features = net.add("Resize", None, floats(1, 1, 2, 1), coordinate_transformation_mode="asymmetric", mode="linear")
    net.add("Conv", 0.1 * normal(2, 4, 1, 1))
    grid = net.add("Transpose", data=[net.add("Tanh")], perm=[0, 2, 3, 1])
    net.add("GridSample", data=[features, grid], padding_mode="border")
    net.add("GlobalLpPool", p=2)
    return net.model(21)


def norms() -> onnx.ModelProto:
    net = Writer()
    net.add("Conv", 0.3 * normal(6, 4, 1, 1))
    net.add("GroupNormalization", np.ones(6, np.float32), normal(6), num_groups=3)
    net.add("InstanceNormalization", np.ones(6, np.float32), normal(6))
    net.add("LRN", size=3)
    net.add("LayerNormalization", 1 + 0.1 * normal(10), normal(10))
    net.add("BatchNormalization", *(np.ones(6, np.float32), normal(6), normal(6), np.ones(6, np.float32)))
    net.add("RMSNormalization", 1 + 0.1 * normal(6, 12, 10), axis=1)
    net.add("LpNormalization", axis=1)
    net.add("MeanVarianceNormalization", axes=[2, 3])
    return net.model(23)


def activations() -> onnx.ModelProto:
    net = Writer()
    branches = []
    for op in ACTIVATIONS:
        net.last = "x"
        net.add("Conv", normal(4, 4, 1, 1))
        branches.append(net.add(op))
    net.add("Sum", data=branches)
    net.add("PRelu", np.full((4, 1, 1), 0.25, np.float32))
    return net.model(22)


NETS = {"windows": windows(), "norms": norms(), "activations": activations()}


@pytest.fixture(params=NETS)
def proto(request: pytest.FixtureRequest) -> onnx.ModelProto:
    return NETS[request.param]


@pytest.fixture
def twin(proto: onnx.ModelProto, tmp_path: Path) -> Twin:
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    return Twin(verify(read(path)))


@pytest.mark.parity
def test_whole_network(twin: Twin, proto: onnx.ModelProto) -> None:
    with torch.no_grad():
        (got,) = twin.eval()(torch.from_numpy(X)).values()
    (want,) = by_onnxruntime(proto, X)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-3, atol=1e-4)


@pytest.mark.properties
def test_every_parameter_gets_finite_gradients(twin: Twin) -> None:
    (y,) = twin.train()(torch.from_numpy(X)).values()
    (y * torch.from_numpy(normal(*y.shape))).sum().backward()
    for name, parameter in twin.trainable().items():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.properties
def test_only_stored_weights_train(twin: Twin, proto: onnx.ModelProto, tmp_path: Path) -> None:
    """Only the weights of the file train, not the constants that reading adds."""
    stored = {tensor.name for tensor in proto.graph.initializer}
    assert set(twin.trainable()) <= stored
    assert parameter_count(read(tmp_path / "net.onnx")) == sum(p.numel() for p in twin.trainable().values())


@pytest.mark.properties
def test_twin_compiles_without_a_break(twin: Twin) -> None:
    torch._dynamo.reset()
    twin.eval()
    compiled = torch.compile(twin, backend="eager", fullgraph=True)
    x = torch.from_numpy(X)
    torch.testing.assert_close(compiled(x), twin(x))


@pytest.mark.properties
def test_twin_trains_under_bf16(twin: Twin) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        (y,) = twin.train()(torch.from_numpy(X)).values()
        loss = y.float().square().mean()
    loss.backward()
    assert bool(torch.isfinite(loss))
    for name, parameter in twin.trainable().items():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.properties
def test_operators_can_be_pickled(twin: Twin) -> None:
    again = pickle.loads(pickle.dumps(twin.operators))
    assert [str(op) for op in again] == [str(op) for op in twin.operators]
