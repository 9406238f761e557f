"""PaddlePaddle, by paddle2onnx: free sizes of −1, activations spelt out, biases added on their own."""

from __future__ import annotations

import numpy as np
import onnx
from onnx_models import weight

from exporter_styles.writing import constant, file, node, norm, norm_inputs, style


def hard_swish(source: str, target: str) -> list[onnx.NodeProto]:
    return [
        constant(f"{target}.three", [3.0], np.float32),
        node("Add", f"{source} {target}.three", f"{target}.a"),
        node("Clip", f"{target}.a {target}.low {target}.high", f"{target}.b"),
        node("Mul", f"{source} {target}.b", f"{target}.c"),
        constant(f"{target}.six", [6.0], np.float32),
        node("Div", f"{target}.c {target}.six", target),
    ]


@style
def paddle2onnx_squeeze_and_excitation() -> onnx.ModelProto:
    """Minus one for every open size, HardSwish spelt out, HardSigmoid with Paddle's slope, biases added afterwards."""
    nodes = [
        constant("act.low", 0.0, np.float32),
        constant("act.high", 6.0, np.float32),
        node("Conv", "x w", "c", strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], group=1, kernel_shape=[3, 3]),
        node("BatchNormalization", f"c {norm_inputs('bn')}", "n", epsilon=1e-5, momentum=0.9),
        *hard_swish("n", "act"),
        node("GlobalAveragePool", "act", "pool"),
        node("Conv", "pool w2", "e1"),
        constant("shape2", [1, 4, 1, 1]),
        node("Reshape", "b2 shape2", "b2r"),
        node("Add", "e1 b2r", "e2"),
        node("HardSigmoid", "e2", "gate", alpha=0.2, beta=0.5),
        node("Mul", "act gate", "y"),
    ]
    stored = [weight("w", 4, 3, 3, 3), *norm("bn", 4), weight("w2", 4, 4, 1, 1), weight("b2", 4)]
    return file(nodes, stored, shape=(-1, 3, -1, -1), opset=11, producer="PaddlePaddle")


@style
def paddle2onnx_resize_chain() -> onnx.ModelProto:
    """The size of a lateral map by Shape, Slice, Cast and Concat, then Resize to it."""
    nodes = [
        node("Conv", "x w", "small", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Shape", "small", "s"),
        constant("zero", [0]),
        constant("two", [2]),
        node("Slice", "s zero two", "nc"),
        node("Shape", "x", "big"),
        constant("last", [4]),
        node("Slice", "big two last", "hw"),
        node("Concat", "nc hw", "sizes", axis=0),
        node("Resize", "small - - sizes", "up", mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        node("Concat", "up x", "y", axis=1),
    ]  # fmt: skip
    return file(nodes, [weight("w", 4, 3, 3, 3)], shape=(-1, 3, "?", "?"), opset=13, producer="PaddlePaddle")
