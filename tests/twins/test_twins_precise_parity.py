"""Parity: a float64 image through a float32 twin is what a float64 twin computes, by blocks and by taps."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.twins import precise
from trunkline.twins import twin as module
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.parity


def mixed_net():
    """Every operator that casts by itself, and others between them."""
    net = GraphBuilder("mixed")
    x = net.image("image", (3, 9, 11))

    def weight(name, *shape):
        return net.weight(name, shape, Filler("msra"))

    def conv(x, name, *shape, **extra):
        settings = {
            "pads": [1] * 4,
            "strides": [1, 1],
            "dilations": [1, 1],
            "group": 1,
            "kernel_shape": [3, 3],
            **extra,
        }
        inputs = [x, weight(f"{name}.weight", *shape), weight(f"{name}.bias", shape[0])]
        return net.node("Conv", inputs, name=name, attributes=settings)

    x = conv(x, "whole", 12, 3, 3, 3)
    x = conv(x, "depthwise", 12, 1, 3, 3, group=12, strides=[2, 1], pads=[1, 2, 0, 2], dilations=[1, 2])
    x = conv(x, "grouped", 8, 3, 3, 3, group=4)
    x = net.node("GlobalAveragePool", [net.node("Relu", [x], name="relu")], name="pool")
    x = net.node("Flatten", [x], name="flat", attributes={"axis": 1})
    x = net.node("Gemm", [x, weight("fc.weight", 6, 8), weight("fc.bias", 6)], name="fc", attributes={"transB": 1})
    x = net.node("MatMul", [x, weight("product.weight", 6, 5)], name="product")
    return net.finish([net.node("Sigmoid", [x], name="end")])


@pytest.mark.parametrize("block", [1, 20, 10**6])
def test_float64_image_is_computed_in_float64(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    for place in (precise, module):
        monkeypatch.setattr(place, "BLOCK_NUMBERS", block)
    twin = Twin(mixed_net(), seed=3).eval()
    double = copy.deepcopy(twin).double()
    image = torch.randn(2, 3, 9, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, truth = twin(image)["end"], double(image)["end"]
    assert found.dtype == torch.float64 and (found - truth).abs().max() < 1e-13
    assert (twin(image.float())["end"].double() - truth).abs().max() > 1e-10, "float32 is not that exact"


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_taps_add_up_to_the_convolution(stride: int, dilation: int, padding: int) -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight = (torch.randn(size, dtype=torch.float64, generator=generator) for size in ((2, 5, 13, 9), (5, 1, 3, 2)))
    bias = torch.randn(5, dtype=torch.float64, generator=generator)
    settings = ((stride, 1), (padding, 0), (dilation, 1), 5)
    found = precise.convolution(F.conv2d, x, weight, bias, *settings)
    assert (found - F.conv2d(x, weight, bias, *settings)).abs().max() < 1e-13
