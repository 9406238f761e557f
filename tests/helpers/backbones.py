"""Small backbones that every plan and method must handle, written with the builder."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.fragments.layers import batch_norm
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, shape_of


def conv(
    b: GraphBuilder,
    x: ir.Value,
    name: str,
    channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    pad: int | None = None,
    group: int = 1,
    bias: bool = False,
) -> ir.Value:
    c_in = int(shape_of(x)[1] or 0)
    inputs = [x, b.weight(f"{name}.weight", (channels, c_in // group, kernel, kernel), Filler("msra"))]
    if bias:
        inputs.append(b.weight(f"{name}.bias", (channels,), Filler("gaussian", 0.1)))
    p = (kernel - 1) // 2 if pad is None else pad
    attributes = {
        "kernel_shape": [kernel] * 2,
        "strides": [stride] * 2,
        "pads": [p] * 4,
        "dilations": [1, 1],
        "group": group,
    }
    return b.node("Conv", inputs, name=name, attributes=attributes)


def unit(b: GraphBuilder, x: ir.Value, name: str, channels: int, *, relu: bool = True, **kw: int) -> ir.Value:
    x = batch_norm(b, conv(b, x, name, channels, **kw), f"{name}_bn")
    return b.node("Relu", [x], name=f"{name}_relu") if relu else x


def chain(size: int = 16) -> Graph:
    """A VGG-like chain with biases, pooling and an unpadded convolution."""
    b = GraphBuilder("chain")
    x = b.image("image", (3, size, size))
    for i, c in enumerate([4, 4, 6]):
        x = b.node("Relu", [conv(b, x, f"conv{i}", c, bias=True)], name=f"relu{i}")
    x = b.node(
        "MaxPool",
        [x],
        name="pool",
        attributes={"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4, "dilations": [1, 1], "ceil_mode": 0},
    )
    x = conv(b, x, "valid", 6, pad=0, bias=True)
    return b.finish([b.node("Relu", [x], name="relu_valid")])


def residual(size: int = 16) -> Graph:
    """A ResNet-like net: identity and projection shortcuts, a join."""
    b = GraphBuilder("residual")
    x = unit(b, b.image("image", (3, size, size)), "stem", 8, stride=2, kernel=7)
    y = unit(b, unit(b, x, "a1", 8), "a2", 8, relu=False)
    x = b.node("Relu", [b.node("Add", [x, y], name="a_add")], name="a_relu")
    y = unit(b, unit(b, x, "b1", 12, stride=2), "b2", 12, relu=False)
    s = unit(b, x, "b_short", 12, kernel=1, stride=2, relu=False)
    return b.finish([b.node("Relu", [b.node("Add", [s, y], name="b_add")], name="b_relu")])


def mobile(size: int = 16) -> Graph:
    """A MobileNetV2-like net: depthwise convolutions, linear bottlenecks, a concatenation, a late BatchNorm."""
    b = GraphBuilder("mobile")
    x = unit(b, b.image("image", (3, size, size)), "stem", 8, stride=2)
    for i, stride in enumerate([1, 2]):
        y = unit(b, x, f"expand{i}", 16, kernel=1)
        y = unit(b, y, f"depth{i}", 16, stride=stride, group=16)
        y = unit(b, y, f"project{i}", 8, kernel=1, relu=False)
        x = b.node("Add", [x, y], name=f"add{i}") if stride == 1 else y
    left, right = unit(b, x, "left", 4, kernel=1), unit(b, x, "right", 4)
    x = b.node("Concat", [left, right], name="concat", attributes={"axis": 1})
    return b.finish([b.node("Relu", [batch_norm(b, x, "late_bn")], name="late_relu")])


def reparametrised(size: int = 16) -> Graph:
    """Kernels with a gain, a standardised one that two layers read, and a bias out of a table of three numbers."""
    b = GraphBuilder("reparametrised")
    x = unit_of(b, b.image("image", (3, size, size)), "stem", gained(b, "stem", 8, 3), stride=2)
    tied = standardised(b, "tied", 8, 8)
    for name in ("first", "second"):
        x = b.node("Add", [x, unit_of(b, x, name, tied)], name=f"{name}_add")
    table = b.weight("table", (8, 3), Filler("gaussian", 0.5))
    places = b.tensor("places", np.arange((size // 2) ** 2).reshape(size // 2, size // 2) % 3)
    bias = b.node("Gather", [table, places], name="bias", attributes={"axis": 1})
    x = b.node("Add", [conv(b, x, "biased", 8), bias], name="biased_add")
    return b.finish([unit_of(b, x, "last", gained(b, "last", 6, 8), stride=2)])


def gained(b: GraphBuilder, name: str, channels: int, c_in: int) -> ir.Value:
    """A kernel times a gain per channel."""
    kernel = b.weight(f"{name}.weight", (channels, c_in, 3, 3), Filler("msra"))
    gain = b.weight(f"{name}.gain", (channels, 1, 1, 1), Filler("uniform", 2.0))
    return b.node("Mul", [kernel, gain], name=f"{name}.kernel")


def standardised(b: GraphBuilder, name: str, channels: int, c_in: int) -> ir.Value:
    """A kernel of mean 0 and deviation 1, by an InstanceNormalization that scales by a gain."""
    kernel = b.weight(f"{name}.weight", (channels, c_in, 3, 3), Filler("msra"))
    shapes = [
        b.tensor(f"{name}.{key}", np.array(sizes))
        for key, sizes in (("flat", (1, channels, -1)), ("full", (channels, c_in, 3, 3)))
    ]
    flat = b.node("Reshape", [kernel, shapes[0]], name=f"{name}.row", attributes={"allowzero": 0})
    gain = b.weight(f"{name}.gain", (channels,), Filler("uniform", 0.3))
    shift = b.constant(f"{name}.shift", np.zeros(channels, np.float32))
    plain = b.node("InstanceNormalization", [flat, gain, shift], name=f"{name}.plain", attributes={"epsilon": 1e-6})
    return b.node("Reshape", [plain, shapes[1]], name=f"{name}.kernel", attributes={"allowzero": 0})


def unit_of(b: GraphBuilder, x: ir.Value, name: str, kernel: ir.Value, *, stride: int = 1) -> ir.Value:
    """A convolution by this kernel, normalised."""
    settings = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": [1] * 4, "dilations": [1, 1], "group": 1}
    return batch_norm(b, b.node("Conv", [x, kernel], name=name, attributes=settings), f"{name}_bn")


def two_taps(size: int = 16) -> Graph:
    """Ends in maps of stride 2 and 4; the first is read by a block with an identity shortcut, and is a join itself."""
    b = GraphBuilder("taps")
    x = unit(b, b.image("image", (3, size, size)), "stem", 6, stride=2)
    y = unit(b, unit(b, x, "a1", 6), "a2", 6, relu=False)
    low = b.node("Relu", [b.node("Add", [x, y], name="a_add")], name="low")
    x = unit(b, low, "b1", 8, stride=2)
    y = unit(b, x, "b2", 8, relu=False)
    return b.finish([low, b.node("Add", [x, y], name="high")])


def small_head(backbone: Graph, channels: int) -> Graph:
    """Reads both maps: a projection of each, one brought to the other's size."""
    b = GraphBuilder("small")
    low, high = (b.image(f"features{i}", shape_of(v)[1:]) for i, v in enumerate(backbone.outputs))
    scales = b.constant("scales", np.array([1, 1, 2, 2], np.float32))
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    up = b.node("Resize", [conv(b, high, "high", channels), None, scales], name="up", attributes=attributes)
    return b.finish([b.node("Add", [conv(b, low, "low", channels), up], name="sum")])


BACKBONES = {"chain": chain, "residual": residual, "mobile": mobile, "reparametrised": reparametrised}
