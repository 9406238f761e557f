"""Networks whose residual blocks change shape: each with another kind of shortcut, or with none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from backbones import conv, unit, unit_of

from trunkline.fragments.layers import batch_norm
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph

Branch = Callable[[GraphBuilder, ir.Value], ir.Value]
POOL = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0] * 4, "ceil_mode": 0}


def block_net(shortcut: Branch, main: Branch | None = None, *, first: str = "main") -> Graph:
    """A stem of 6 channels, a block to 8 channels at half the size, and a layer behind it."""
    b = GraphBuilder("block_net")
    x = unit(b, b.image("image", (3, 16, 16)), "stem", 6)
    main = main or two_layers
    if first == "main":
        y = main(b, x)
        s = shortcut(b, x)
    else:
        s = shortcut(b, x)
        y = main(b, x)
    x = b.node("Relu", [b.node("Add", [s, y], name="add")], name="relu")
    return b.finish([unit(b, unit(b, x, "last", 8), "end", 4)])


def two_layers(b: GraphBuilder, x: ir.Value) -> ir.Value:
    return unit(b, unit(b, x, "m1", 8, stride=2), "m2", 8, relu=False)


def one_layer(b: GraphBuilder, x: ir.Value) -> ir.Value:
    return unit(b, x, "m1", 8, stride=2, relu=False)


def nested(b: GraphBuilder, x: ir.Value) -> ir.Value:
    """A main path with an addition of its own."""
    y = unit(b, x, "m1", 8, stride=2)
    return unit(b, b.node("Add", [y, unit(b, y, "m2", 8)], name="inner"), "m3", 8, relu=False)


def projected(b: GraphBuilder, x: ir.Value) -> ir.Value:
    return unit(b, x, "s", 8, kernel=1, stride=2, relu=False)


def pooled(b: GraphBuilder, x: ir.Value) -> ir.Value:
    """ResNet-D's: averages, then a projection."""
    x = b.node("AveragePool", [x], name="s_pool", attributes={**POOL, "count_include_pad": 0})
    return unit(b, x, "s", 8, kernel=1, relu=False)


def filled(b: GraphBuilder, x: ir.Value) -> ir.Value:
    """The one of the first ResNets on CIFAR: every second pixel, and zeros for the new channels."""
    x = b.node("MaxPool", [x], name="s_pool", attributes={**POOL, "dilations": [1, 1], "kernel_shape": [1, 1]})
    pads = b.tensor("s_pads", np.array([0, 0, 0, 0, 0, 2, 0, 0], np.int64))
    return b.node("Pad", [x, pads], name="s_zeros", attributes={"mode": "constant"})


def computed(b: GraphBuilder, x: ir.Value) -> ir.Value:
    """A projection whose kernel is computed from stored tensors."""
    kernel = b.weight("s.weight", (8, 6, 3, 3), Filler("msra"))
    gain = b.weight("s.gain", (8, 1, 1, 1), Filler("uniform", 2.0))
    return unit_of(b, x, "s", b.node("Mul", [kernel, gain], name="s_kernel"), stride=2)


def activated(b: GraphBuilder, x: ir.Value) -> ir.Value:
    return unit(b, x, "s", 8, kernel=1, stride=2)


def deep(b: GraphBuilder, x: ir.Value) -> ir.Value:
    """Two layers: no less than the main path."""
    return batch_norm(b, conv(b, conv(b, x, "s1", 8, stride=2), "s2", 8), "s_bn")


def of_one_pixel(b: GraphBuilder, x: ir.Value) -> ir.Value:
    """Broadcast when it is added: it has another shape."""
    whole = {**POOL, "kernel_shape": [16, 16], "count_include_pad": 0}
    return conv(b, b.node("AveragePool", [x], name="s_pool", attributes=whole), "s", 8, kernel=1)


def three_layers(b: GraphBuilder, x: ir.Value) -> ir.Value:
    return unit(b, two_layers(b, x), "m3", 8, relu=False)


def with_block(b: GraphBuilder, x: ir.Value) -> ir.Value:
    """A main path that begins with a residual block of its own."""
    inner = b.node("Add", [unit(b, x, "i", 8, kernel=1, stride=2, relu=False), two_layers(b, x)], name="inner")
    return unit(b, b.node("Relu", [inner], name="inner_relu"), "m3", 8, relu=False)


SHORTCUTS: dict[str, tuple[Callable[[], Graph], tuple[str, ...]]] = {
    "projected": (lambda: block_net(projected), ("s", "s_bn")),
    "projected first": (lambda: block_net(projected, first="shortcut"), ("s", "s_bn")),
    "pooled": (lambda: block_net(pooled), ("s_pool", "s", "s_bn")),
    "filled": (lambda: block_net(filled), ("s_pool", "s_zeros")),
    "filled, beside one layer": (lambda: block_net(filled, one_layer), ("s_pool", "s_zeros")),
    "computed": (lambda: block_net(computed), ("s", "s_bn")),
    "nested": (lambda: block_net(projected, nested), ("s", "s_bn")),
}
"""Networks by kind, with the nodes of the shortcut of their block ``m1``, or ``s`` where that is listed first."""
NONE: dict[str, Callable[[], Graph]] = {
    "activated": lambda: block_net(activated),
    "two layers deep": lambda: block_net(deep),
    "two layers beside three": lambda: block_net(deep, three_layers),
    "only inside the main path": lambda: block_net(activated, with_block),
    "two convolutions side by side": lambda: block_net(projected, one_layer),
    "broadcast": lambda: block_net(of_one_pixel),
}
"""Networks whose block to another shape has none."""
