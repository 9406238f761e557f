"""Functions of one number, and Softmax."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute, name_of
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, blob, sizes
from trunkline.ingest.prototxt.writer.net import block
from trunkline.text import shape_text

_LARGEST = float(np.finfo(np.float32).max)


def clip(to: Emitter, node: ir.Node) -> None:
    """Clip → Clip, which needs both bounds. ReLU6 is one too: a layer of that name exists in forks only."""
    # An open side becomes the largest float32, which bounds no number.
    low, high = _bound(to, node, 1, -_LARGEST), _bound(to, node, 2, _LARGEST)
    to.layer(node, "Clip", block("clip_param", {"min": low, "max": high}))


def prelu(to: Emitter, node: ir.Node) -> None:
    """PRelu → PReLU with one slope per channel, or one for all."""
    slope, data = to.stored(node, 1, "slope"), to.data(node)
    spread = (1,) * (len(sizes(data)) - len(sizes(slope))) + sizes(slope)
    if all(size == 1 for size in spread):  # Caffe's shared slope is a blob without axes
        to.layer(node, "PReLU", block("prelu_param", {"channel_shared": True}), blobs=[blob(slope, ())])
        return
    channels = sizes(data)[1]
    if spread != (1, channels, *(1 for _ in spread[2:])):
        raise InexpressibleError(f"its slope has shape {shape_text(slope.shape)}; Caffe has one number per channel")
    to.layer(node, "PReLU", blobs=[blob(slope, (channels,))])


def softmax(to: Emitter, node: ir.Node) -> None:
    """Softmax → Softmax."""
    axis = attribute(node, "axis", -1) % len(sizes(to.data(node)))
    settings = [] if axis == 1 else [block("softmax_param", {"axis": axis})]  # 1 is Caffe's default
    to.layer(node, "Softmax", *settings)


def hard_sigmoid(to: Emitter, node: ir.Node) -> None:
    """HardSigmoid → Power (which scales and shifts) and Clip."""
    alpha, beta = float(attribute(node, "alpha", 0.2)), float(attribute(node, "beta", 0.5))
    scaled = to.step(
        node, "scale", "Power", name_of(to.data(node)), block("power_param", {"scale": alpha, "shift": beta})
    )
    bounds = block("clip_param", {"min": 0.0, "max": 1.0})
    to.add(name_of(node), "Clip", [scaled], to.tops(node), bounds)


def hard_swish(to: Emitter, node: ir.Node) -> None:
    """HardSwish, x · min(max(x / 6 + 1 / 2, 0), 1) → Power, Clip, Eltwise."""
    data = name_of(to.data(node))
    scaled = to.step(node, "scale", "Power", data, block("power_param", {"scale": 1 / 6, "shift": 0.5}))
    gate = to.step(node, "gate", "Clip", scaled, block("clip_param", {"min": 0.0, "max": 1.0}))
    product = block("eltwise_param", {"operation": "PROD"})
    to.add(name_of(node), "Eltwise", [data, gate], to.tops(node), product)


def _bound(to: Emitter, node: ir.Node, index: int, default: float) -> float:
    """Return a bound of a Clip, or ``default`` where the node is open on that side."""
    if index >= len(node.inputs) or node.inputs[index] is None:
        return default
    return float(array_of(to.stored(node, index, "bound")).item())


def _with_alpha(kind: str, param: str, field: str, default: float) -> Emit:
    """Return the writer of a function with one number, ``alpha`` in ONNX."""

    def emit(to: Emitter, node: ir.Node) -> None:
        to.layer(node, kind, block(param, {field: float(attribute(node, "alpha", default))}))

    return emit


def _plain(kind: str) -> Emit:
    """Return the writer of a function without settings."""
    return lambda to, node: to.layer(node, kind)


WRITERS: dict[str, Emit] = {
    "Relu": _plain("ReLU"),
    "Sigmoid": _plain("Sigmoid"),
    "Tanh": _plain("TanH"),
    "Abs": _plain("AbsVal"),
    "Exp": _plain("Exp"),
    "Log": _plain("Log"),
    "Softplus": _plain("BNLL"),
    "LeakyRelu": _with_alpha("ReLU", "relu_param", "negative_slope", 0.01),
    "Elu": _with_alpha("ELU", "elu_param", "alpha", 1.0),
    "PRelu": prelu,
    "Clip": clip,
    "Softmax": softmax,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
}
