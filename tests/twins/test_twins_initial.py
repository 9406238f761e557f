"""Initial weights: drawn in torch by name and seed, or copied; never by evaluating a lazy tensor."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.twins.initial_weights import draw, initial_tensor, to_tensor
from trunkline.twins.twin import Twin


@pytest.mark.properties
@pytest.mark.parametrize(
    ("filler", "std"),
    [
        (Filler("msra"), math.sqrt(2 / (64 * 9))),
        (Filler("msra", fan="out"), math.sqrt(2 / (128 * 9))),
        (Filler("xavier"), math.sqrt(1 / (64 * 9))),
        (Filler("xavier", fan="average"), math.sqrt(2 / (192 * 9))),
        (Filler("gaussian", 0.3), 0.3),
        (Filler("uniform", 0.3), 0.3 / math.sqrt(3)),
    ],
)
def test_draws_have_the_spread_of_their_filler(filler: Filler, std: float) -> None:
    tensor = draw(filler, "w", (128, 64, 3, 3), 0)
    assert tensor.dtype == torch.float32
    assert float(tensor.std()) == pytest.approx(std, rel=0.02)
    assert abs(float(tensor.mean())) < 0.02 * std
    if filler.kind in ("xavier", "uniform"):
        assert float(tensor.abs().max()) <= filler.spread((128, 64, 3, 3))


@pytest.mark.golden
@pytest.mark.parametrize("shape", [(4, 4, 1, 1), (5, 3, 3, 3), (2, 6, 1, 1), (3, 3)])
def test_diagonal_kernels_copy_channels(shape: tuple[int, ...]) -> None:
    """A convolution by such a kernel gives its input times the value, channel by channel, and zeros beyond."""
    kernel = draw(Filler("diagonal", 0.25), "w", shape, 0)
    window = (1, 1) if len(shape) == 2 else shape[2:]
    x = torch.randn(2, shape[1], 4, 4)
    y = torch.nn.functional.conv2d(x, kernel.reshape(*shape[:2], *window), padding=window[0] // 2)
    common = min(shape[:2])
    assert torch.equal(y[:, :common], 0.25 * x[:, :common])
    assert not y[:, common:].any() and int((kernel != 0).sum()) == common
    assert np.array_equal(Filler("diagonal", 0.25).draw(shape, "w"), kernel.numpy())


@pytest.mark.properties
def test_draws_depend_on_name_and_seed_only() -> None:
    first = draw(Filler(), "a", (16, 8, 3, 3), 0)
    torch.rand(5)
    assert torch.equal(first, draw(Filler(), "a", (16, 8, 3, 3), 0))
    assert not torch.equal(first, draw(Filler(), "b", (16, 8, 3, 3), 0))
    assert not torch.equal(first, draw(Filler(), "a", (16, 8, 3, 3), 1))


def never() -> ir.TensorProtocol:
    raise AssertionError("a lazy weight was evaluated")


@pytest.mark.properties
def test_filler_leaves_the_lazy_tensor_alone() -> None:
    """A filler is drawn without evaluating the lazy tensor."""
    b = GraphBuilder("lazy")
    weight = b.weight("w", (4, 3, 1, 1), Filler())
    graph = b.finish([b.node("Conv", [b.image("x", (3, 2, 2)), weight], name="conv")])
    weight.const_value = ir.LazyTensor(never, ir.DataType.FLOAT, ir.Shape((4, 3, 1, 1)), name="w")
    twin = Twin(graph, seed=3)
    assert torch.equal(twin.weights()["w"], draw(Filler(), "w", (4, 3, 1, 1), 3))


@pytest.mark.golden
def test_content_is_copied_not_shared() -> None:
    content = np.ones((2, 2), np.float32)
    value = ir.Value(name="w", const_value=ir.Tensor(content, name="w"))
    tensor = initial_tensor(value)
    tensor.zero_()
    assert content.all()


@pytest.mark.golden
def test_float_types_numpy_lacks_survive() -> None:
    tensor = to_tensor(np.array([1.5, -2.0], dtype=ml_dtypes.bfloat16))
    assert tensor.dtype == torch.bfloat16 and tensor.tolist() == [1.5, -2.0]
    assert to_tensor(np.array(2.0, np.float16)).shape == ()


def trained() -> Graph:
    """A network read from a file: content, no fillers."""
    b = GraphBuilder("trained")

    def full(name: str, *shape: int) -> ir.Value:
        return b.tensor(name, np.full(shape, 7.0, np.float32))

    x = b.image("x", (64, 4, 4))
    x = b.node("Conv", [x, full("conv.w", 256, 64, 1, 1), full("conv.b", 256)], name="conv")
    x = b.node("BatchNormalization", [x, *(full(f"bn.{i}", 256) for i in range(4))], name="bn")
    x = b.node("PRelu", [x, full("slope", 256, 1, 1)], name="prelu")
    x = b.node("Mul", [x, full("gain", 256, 1, 1)], name="mul")
    x = b.node("Add", [x, full("shift", 256, 1, 1)], name="add")
    x = b.node("Div", [x, full("six", 1)], name="div")
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x], name="pool")], name="flat")
    x = b.node("Gemm", [x, full("fc.w", 256, 512), full("fc.b", 512)], name="fc")
    return b.finish([x])


@pytest.mark.golden
def test_given_weights_replace_initial_ones() -> None:
    """Given weights replace the initial ones, and only where they are given."""
    given: dict[str, np.ndarray | Tensor] = {"conv.b": np.arange(256, dtype=np.float32), "fc.b": torch.ones(512)}
    twin = Twin(trained(), weights=given)
    assert torch.equal(twin.weights()["conv.b"], torch.arange(256.0))
    assert bool((twin.weights()["fc.b"] == 1).all()) and bool((twin.weights()["fc.w"] == 7).all())
