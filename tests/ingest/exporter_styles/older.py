"""MXNet, Caffe2 and torch up to 1.2: opsets 7 to 9, IR version 3, weights listed among the inputs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx_models import weight

from exporter_styles.writing import FLOAT, constant, file, ints, node, norm, norm_inputs, style


@style
def mxnet_classifier() -> onnx.ModelProto:
    """Weights among the inputs, spatial=1, a Dropout with its mask, Flatten and Gemm with both transpositions."""
    nodes = [
        node("BatchNormalization", f"x {norm_inputs('data')}", "n", epsilon=2e-5, momentum=0.9, spatial=1),
        node("Conv", "n w", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], dilations=[1, 1], group=1),
        node("PRelu", "c slope", "r"),
        node("GlobalAveragePool", "r", "g"),
        node("Dropout", "g", "d mask", ratio=0.5),
        node("Flatten", "d", "f"),
        node("Gemm", "f dense bias", "y", transA=0, transB=1, alpha=1.0, beta=1.0),
    ]
    stored = [*norm("data", 3), weight("w", 4, 3, 3, 3), weight("slope", 4, 1, 1), weight("dense", 5, 4)]
    stored.append(weight("bias", 5))
    return file(nodes, stored, opset=8, ir_version=3, listed=True)


@style
def mxnet_bilinear_deconvolution() -> onnx.ModelProto:
    nodes = [
        node("ConvTranspose", "x w", "u", kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1], group=3),
        node("LRN", "u", "y", alpha=1e-4, beta=0.75, bias=2.0, size=3),
    ]
    return file(nodes, [weight("w", 3, 1, 4, 4)], opset=7, ir_version=3, listed=True)


@style
def old_torch_flatten_by_shape() -> onnx.ModelProto:
    """``x.view(x.size(0), -1)`` of torch 0.4 to 1.2, with the statistics BatchNormalization could give."""
    nodes = [
        node("Conv", "x w b", "c", dilations=[1, 1], group=1, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]),
        node("BatchNormalization", f"c {norm_inputs('bn')}", "n"),
        node("Relu", "n", "r"),
        node("MaxPool", "r", "p", kernel_shape=[3, 3], pads=[0, 0, 1, 1], strides=[2, 2]),
        node("Shape", "p", "s"),
        constant("zero", 0),
        node("Gather", "s zero", "n0", axis=0),
        constant("minus", -1),
        node("Unsqueeze", "n0", "u0", axes=[0]),
        node("Unsqueeze", "minus", "u1", axes=[0]),
        node("Concat", "u0 u1", "target", axis=0),
        node("Reshape", "p target", "f"),
        node("Gemm", "f dense bias", "y", alpha=1.0, beta=1.0, transB=1),
    ]
    stored = [weight("w", 4, 3, 3, 3), weight("b", 4), *norm("bn", 4), weight("dense", 5, 64), weight("bias", 5)]
    return file(nodes, stored, opset=9, ir_version=4, producer="pytorch", listed=True)


@style
def old_torch_interpolation() -> onnx.ModelProto:
    """Scales from Floor(size · 2) / size, as torch 1.2 wrote ``F.interpolate(scale_factor=2)``."""
    nodes = []
    for axis in (2, 3):
        nodes += [
            node("Shape", "x", f"s{axis}"),
            constant(f"i{axis}", axis),
            node("Gather", f"s{axis} i{axis}", f"d{axis}", axis=0),
            node("Cast", f"d{axis}", f"f{axis}", to=FLOAT),
            constant(f"two{axis}", 2.0, np.float32),
            node("Mul", f"f{axis} two{axis}", f"m{axis}"),
            node("Floor", f"m{axis}", f"o{axis}"),
            node("Div", f"o{axis} f{axis}", f"q{axis}"),
            node("Unsqueeze", f"q{axis}", f"u{axis}", axes=[0]),
        ]
    nodes += [
        constant("ones", [1.0, 1.0], np.float32),
        node("Concat", "ones u2 u3", "scales", axis=0),
        node("Upsample", "x scales", "up", mode="linear"),
        node("Conv", "up w", "y"),
    ]
    return file(nodes, [weight("w", 2, 3, 3, 3)], opset=9, ir_version=4, producer="pytorch")


@style
def caffe2_average_pool() -> onnx.ModelProto:
    nodes = [
        node("AveragePool", "x", "p", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=1),
        node("Sum", "p p p", "s"),
        node("Reshape", "s shape", "f"),
        node("Gemm", "f dense bias", "g", transB=1),
        node("Softmax", "g", "y"),
    ]
    stored = [ints("shape", 1, -1), weight("dense", 5, 48), weight("bias", 5)]
    return file(nodes, stored, opset=7, ir_version=3, listed=True)
