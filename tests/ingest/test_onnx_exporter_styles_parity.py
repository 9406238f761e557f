"""Parity: small files in the styles of many exporters compute, once read, what onnxruntime computes for the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_models import Array, assert_close, image, run, save, tensor, weight

from trunkline.ingest.graph import Graph, shape_of
from trunkline.ingest.read import read
from trunkline.supermodel.twins.module import Twin

STYLES: dict[str, Callable[[], onnx.ModelProto]] = {}
"""What an exporter writes, by a name of it and of what is particular about it."""

Node = tuple[Any, ...]
FLOAT = TensorProto.FLOAT


def style(build: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    STYLES[build.__name__] = build
    return build


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node from names separated by blanks; ``-`` is an absent input."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), **attributes)


def file(
    nodes: Sequence[onnx.NodeProto],
    stored: Sequence[TensorProto] = (),
    *,
    shape: Sequence[int | str | None] = (1, 3, 8, 8),
    outputs: Sequence[str] = ("y",),
    opset: int = 11,
    ir_version: int = 7,
    producer: str = "",
    listed: bool = False,
    element: int = FLOAT,
) -> onnx.ModelProto:
    """A file of one image ``x``; ``listed`` repeats the weights among the inputs."""
    inputs = [helper.make_tensor_value_info("x", element, shape)]
    if listed:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in stored]
    graph = helper.make_graph(
        list(nodes), "net", inputs, [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs], list(stored)
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name=producer)


def ints(name: str, *content: int) -> TensorProto:
    return tensor(name, content)


def floats(name: str, *content: float) -> TensorProto:
    return tensor(name, content, np.float32)


def scalar(name: str, content: float) -> TensorProto:
    return tensor(name, content, np.float32)


def constant(name: str, content: Any, dtype: type = np.int64) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=tensor(name, content, dtype))


def norm(name: str, channels: int) -> list[TensorProto]:
    variance = tensor(f"{name}.var", np.linspace(0.5, 1.5, channels), np.float32)
    return [*(weight(f"{name}.{part}", channels) for part in ("scale", "bias", "mean")), variance]


def norm_inputs(name: str) -> str:
    return " ".join(f"{name}.{part}" for part in ("scale", "bias", "mean", "var"))


# ------------------------------------------------------------------------------------------------ tf2onnx, keras2onnx


@style
def tf2onnx_channels_last() -> onnx.ModelProto:
    """Transpose, Pad + Conv VALID, FusedBatchNorm, Relu6 as Min and Max, a mean over H and W, a squeezed result."""
    nodes = [
        node("Transpose", "x", "x_first", perm=[0, 3, 1, 2]),
        node("Pad", "x_first", "padded", pads=[0, 0, 0, 0, 0, 0, 1, 1]),
        node("Conv", "padded w1", "c1", kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID"),
        node("BatchNormalization", f"c1 {norm_inputs('bn')}", "b1", epsilon=1e-3),
        node("Max", "b1 zero", "r1"),
        node("Min", "r1 six", "r2"),
        node("Conv", "r2 w2 bias", "c2", strides=[1, 1], auto_pad="SAME_UPPER", group=4),
        node("Clip", "c2", "c3", min=0.0, max=6.0),
        node("ReduceMean", "c3", "m", axes=[2, 3], keepdims=1),
        node("Conv", "m w3", "logits", kernel_shape=[1, 1]),
        node("Squeeze", "logits", "flat", axes=[2, 3]),
        node("Softmax", "flat", "y", axis=1),
    ]
    stored = [weight("w1", 4, 3, 3, 3), *norm("bn", 4), scalar("zero", 0), scalar("six", 6), weight("bias", 4)]
    stored += [weight("w2", 4, 1, 3, 3), weight("w3", 5, 4, 1, 1)]
    return file(nodes, stored, shape=("unk__1", 8, 8, 3), opset=9, ir_version=4, producer="tf2onnx")


@style
def tf2onnx_transposed_ends() -> onnx.ModelProto:
    """Back to channels last before a Flatten, as dense layers of Keras need it."""
    nodes = [
        node("Transpose", "x", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "c", auto_pad="SAME_LOWER", strides=[2, 2]),
        node("LeakyRelu", "c", "r", alpha=0.3),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID"),
        node("Transpose", "p", "last", perm=[0, 2, 3, 1]),
        node("Reshape", "last shape", "flat"),
        node("MatMul", "flat dense", "z"),
        node("Add", "z bias", "y"),
    ]
    stored = [weight("w", 4, 3, 3, 3), ints("shape", -1, 16), weight("dense", 16, 5), weight("bias", 5)]
    return file(nodes, stored, shape=("N", 8, 8, 3), opset=13, producer="tf2onnx")


@style
def tf2onnx_preprocessing() -> onnx.ModelProto:
    """x / 127.5 − 1 before the Transpose."""
    nodes = [
        node("Mul", "x scale", "scaled"),
        node("Sub", "scaled one", "centred"),
        node("Transpose", "centred", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "y"),
    ]
    stored = [scalar("scale", 1 / 127.5), floats("one", 1.0, 0.9, 1.1), weight("w", 4, 3, 3, 3)]
    return file(nodes, stored, shape=(None, 8, 8, 3), opset=12, producer="tf2onnx")


@style
def tf2onnx_shape_of_the_batch() -> onnx.ModelProto:
    """Flatten as TensorFlow says it: Shape, Cast, Slice, Concat, Cast, Reshape."""
    nodes = [
        node("Transpose", "x", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "c"),
        node("Shape", "c", "s64"),
        node("Cast", "s64", "s32", to=TensorProto.INT32),
        node("Cast", "s32", "s", to=TensorProto.INT64),
        node("Slice", "s", "n", starts=[0], ends=[1], axes=[0]),
        node("Concat", "n rest", "target", axis=0),
        node("Cast", "target", "target32", to=TensorProto.INT32),
        node("Cast", "target32", "target64", to=TensorProto.INT64),
        node("Reshape", "c target64", "y"),
    ]
    stored = [weight("w", 4, 3, 3, 3), ints("rest", -1)]
    return file(nodes, stored, shape=("N", 8, 8, 3), opset=8, producer="tf2onnx")


@style
def tf2onnx_resize_by_doubles() -> onnx.ModelProto:
    """Scales computed from sizes, in float32, as tf.image.resize gives them."""
    nodes = [
        node("Transpose", "x", "first", perm=[0, 3, 1, 2]),
        node("Shape", "first", "s"),
        node("Slice", "s two four", "hw"),
        node("Cast", "hw", "hw_f", to=FLOAT),
        node("Cast", "wanted", "wanted_f", to=FLOAT),
        node("Div", "wanted_f hw_f", "ratio"),
        node("Concat", "ones ratio", "scales", axis=0),
        node("Resize", "first roi scales", "r", mode="linear", coordinate_transformation_mode="half_pixel"),
        node("Transpose", "r", "y", perm=[0, 2, 3, 1]),
    ]
    stored = [ints("two", 2), ints("four", 4), tensor("wanted", [16, 12], np.int32), floats("ones", 1, 1)]
    return file(nodes, [*stored, floats("roi")], shape=("N", 8, 8, 3), producer="tf2onnx")


@style
def keras2onnx_padded_before_the_transpose() -> onnx.ModelProto:
    """ZeroPadding2D on the image itself, channels last."""
    nodes = [
        node("Pad", "x", "padded", pads=[0, 1, 2, 0, 0, 1, 0, 0], mode="constant"),
        node("Transpose", "padded", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w b", "y", strides=[2, 2]),
    ]
    return file(nodes, [weight("w", 4, 3, 3, 3), weight("b", 4)], shape=("N", 8, 8, 3), opset=10)


@style
def keras_caffe_preprocessing() -> onnx.ModelProto:
    """RGB to BGR by a reversing Slice on the last axis, then the mean subtracted."""
    nodes = [
        node("Slice", "x start end axis step", "bgr"),
        node("Add", "bgr mean", "centred"),
        node("Transpose", "centred", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "y"),
    ]
    stored = [ints("start", -1), ints("end", -100), ints("axis", 3), ints("step", -1)]
    stored += [floats("mean", -1.1, -1.2, -1.3), weight("w", 4, 3, 3, 3)]
    return file(nodes, stored, shape=("N", 8, 8, 3))


@style
def keras_gathered_channels() -> onnx.ModelProto:
    """RGB to BGR by Split and Concat, and once more by Gather, on the last axis."""
    nodes = [
        node("Split", "x", "r g b", axis=-1),
        node("Concat", "b g r", "bgr", axis=-1),
        node("Gather", "bgr order", "rgb", axis=3),
        node("Transpose", "rgb", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "y"),
    ]
    return file(nodes, [ints("order", 2, 1, 0), weight("w", 4, 3, 3, 3)], shape=("N", 8, 8, 3))


# ----------------------------------------------------------------------------------------------------- PaddlePaddle


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


# ------------------------------------------------------------------------------------- MXNet, Caffe2, torch before 1.3


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
        node("Gemm", "f dense bias", "g", transB=1, broadcast=1) if False else node("Gemm", "f dense bias", "g", transB=1),
        node("Softmax", "g", "y"),
    ]
    stored = [ints("shape", 1, -1), weight("dense", 5, 48), weight("bias", 5)]
    return file(nodes, stored, opset=7, ir_version=3, listed=True)


# ------------------------------------------------------------------------------------- CoreML tools, CNTK, MATLAB


@style
def coreml_tools_scaled_image() -> onnx.ModelProto:
    """ImageScaler written as Mul and Add; InnerProduct as Reshape and MatMul; one image only."""
    nodes = [
        node("Mul", "x scale", "s"),
        node("Add", "s bias", "t"),
        node("Conv", "t w cb", "c", auto_pad="SAME_UPPER"),
        node("Relu", "c", "r"),
        node("GlobalMaxPool", "r", "g"),
        node("Reshape", "g shape", "f"),
        node("MatMul", "f dense", "m"),
        node("Add", "m db", "y"),
    ]
    stored = [scalar("scale", 1 / 255), weight("bias", 3, 1, 1), weight("w", 4, 3, 3, 3), weight("cb", 4)]
    stored += [ints("shape", 1, 4), weight("dense", 4, 5), weight("db", 1, 5)]
    return file(nodes, stored, opset=8, ir_version=3, listed=True, producer="onnxmltools")


@style
def cntk_fixed_batch() -> onnx.ModelProto:
    """Reshape and ReduceMean with the batch of one spelt out, weights of a product transposed on the way."""
    nodes = [
        node("Sub", "x mean", "s"),
        node("Conv", "s w", "c", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Add", "c b", "cb"),
        node("MeanVarianceNormalization", "cb", "n", axes=[0, 2, 3]) if False else node("Relu", "cb", "n"),
        node("Reshape", "n shape", "f"),
        node("Transpose", "dense", "dense_t", perm=[1, 0]),
        node("MatMul", "f dense_t", "m"),
        node("Add", "m db", "y"),
    ]
    stored = [weight("mean", 3, 1, 1), weight("w", 4, 3, 3, 3), weight("b", 4, 1, 1), ints("shape", 1, 64)]
    stored += [weight("dense", 5, 64), weight("db", 5)]
    return file(nodes, stored, opset=9, ir_version=4, producer="CNTK")


@style
def matlab_image_with_a_mean() -> onnx.ModelProto:
    nodes = [
        node("Sub", "x data_Mean", "data"),
        node("Conv", "data w b", "conv", group=1, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1]),
        node("BatchNormalization", f"conv {norm_inputs('bn')}", "bn", epsilon=1e-5),
        node("LeakyRelu", "bn", "r", alpha=0.01),
        node("GlobalAveragePool", "r", "gap"),
        node("Conv", "gap wf bf", "fc"),
        node("Softmax", "fc", "s", axis=1),
        node("Flatten", "s", "y"),
    ]
    stored = [weight("data_Mean", 1, 3, 8, 8), weight("w", 4, 3, 3, 3), weight("b", 4), *norm("bn", 4)]
    stored += [weight("wf", 5, 4, 1, 1), weight("bf", 5)]
    return file(nodes, stored, shape=("BatchSize", 3, 8, 8), opset=9, ir_version=4, producer="MATLAB")


# --------------------------------------------------------------------------------------- Darknet, Ultralytics, MMLab


@style
def darknet_route_and_reorg() -> onnx.ModelProto:
    """YOLOv2's passthrough by Reshape and Transpose of a fixed batch, routes, and a nearest Resize."""
    nodes = [
        node("Conv", "x w", "c", auto_pad="SAME_LOWER"),
        node("BatchNormalization", f"c {norm_inputs('bn')}", "n", epsilon=1e-5, momentum=0.99),
        node("LeakyRelu", "n", "a", alpha=0.1),
        node("MaxPool", "a", "p", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
        node("MaxPool", "p", "q", kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER"),
        node("Reshape", "a s6", "r6"),
        node("Transpose", "r6", "t6", perm=[0, 1, 3, 5, 2, 4]),
        node("Reshape", "t6 s4", "reorg"),
        node("Concat", "reorg q", "cat", axis=1),
        node("Resize", "cat roi scales", "y", mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
    ]  # fmt: skip
    stored = [weight("w", 4, 3, 3, 3), *norm("bn", 4), ints("s6", 1, 4, 4, 2, 4, 2), ints("s4", 1, 16, 4, 4)]
    return file(nodes, [*stored, floats("roi"), floats("scales", 1, 1, 2, 2)], opset=12)


def silu(source: str, target: str) -> list[onnx.NodeProto]:
    return [node("Sigmoid", source, f"{target}.s"), node("Mul", f"{source} {target}.s", target)]


@style
def ultralytics_focus_and_detect() -> onnx.ModelProto:
    """YOLOv5: Focus by Slices, SiLU, SPPF, a Reshape into anchors, a grid and strides as constants."""
    nodes = []
    for name, (row, column) in {"a": (0, 0), "b": (1, 0), "c": (0, 1), "d": (1, 1)}.items():
        nodes += [
            node("Slice", f"x s{row} end ax2 st", f"{name}0"),
            node("Slice", f"{name}0 s{column} end ax3 st", f"{name}1"),
        ]
    nodes += [
        node("Concat", "a1 b1 c1 d1", "focus", axis=1),
        node("Conv", "focus w b", "conv", pads=[1, 1, 1, 1]),
        *silu("conv", "act"),
        node("MaxPool", "act", "p1", kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1]),
        node("MaxPool", "p1", "p2", kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1]),
        node("Concat", "act p1 p2", "sppf", axis=1),
        node("Conv", "sppf wd bd", "head"),
        node("Reshape", "head five", "five_d"),
        node("Transpose", "five_d", "moved", perm=[0, 1, 3, 4, 2]),
        node("Sigmoid", "moved", "probable"),
        node("Split", "probable parts", "xy wh conf", axis=4),
        node("Mul", "xy two", "xy2"),
        node("Add", "xy2 grid", "xy3"),
        node("Mul", "xy3 stride", "xy4"),
        node("Mul", "wh two", "wh2"),
        node("Pow", "wh2 square", "wh3"),
        node("Mul", "wh3 anchors", "wh4"),
        node("Concat", "xy4 wh4 conf", "all", axis=4),
        node("Reshape", "all flat", "y"),
    ]
    stored = [ints("s0", 0), ints("s1", 1), ints("end", 2**63 - 1), ints("ax2", 2), ints("ax3", 3), ints("st", 2)]
    stored += [weight("w", 4, 12, 3, 3), weight("b", 4), weight("wd", 12, 12, 1, 1), weight("bd", 12)]
    stored += [ints("five", 1, 2, 6, 4, 4), ints("parts", 2, 2, 2), scalar("two", 2), scalar("square", 2)]
    stored += [weight("grid", 1, 2, 4, 4, 2), scalar("stride", 2), weight("anchors", 1, 2, 4, 4, 2), ints("flat", 1, 32, 6)]
    return file(nodes, stored, opset=13, producer="pytorch")


@style
def ultralytics_anchor_points() -> onnx.ModelProto:
    """YOLOv8's tail: anchor points by Range, Add, Reshape, Expand from the map's own size; distances by Softmax."""
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Shape", "c", "s"),
        constant("i2", 2),
        constant("i3", 3),
        node("Gather", "s i2", "h"),
        node("Gather", "s i3", "v"),
        constant("zero", 0),
        constant("one", 1),
        node("Range", "zero v one", "rx"),
        node("Cast", "rx", "fx", to=FLOAT),
        constant("half", 0.5, np.float32),
        node("Add", "fx half", "px"),
        node("Range", "zero h one", "ry"),
        node("Cast", "ry", "fy", to=FLOAT),
        node("Add", "fy half", "py"),
        constant("axis0", [0]),
        node("Unsqueeze", "h axis0", "h1"),
        node("Unsqueeze", "v axis0", "v1"),
        node("Concat", "h1 v1", "hw", axis=0),
        constant("column", [-1, 1]),
        constant("row", [1, -1]),
        node("Reshape", "py column", "pyc"),
        node("Expand", "pyc hw", "gy"),
        node("Reshape", "px row", "pxr"),
        node("Expand", "pxr hw", "gx"),
        constant("last", [-1]),
        node("Unsqueeze", "gx last", "gx1"),
        node("Unsqueeze", "gy last", "gy1"),
        node("Concat", "gx1 gy1", "points", axis=-1),
        constant("pairs", [-1, 2]),
        node("Reshape", "points pairs", "flat_points"),
        node("Transpose", "flat_points", "anchor", perm=[1, 0]),
        node("Unsqueeze", "anchor axis0", "anchors"),
        constant("batchless", [0, 18, -1]),
        node("Reshape", "c batchless", "boxes"),
        constant("parts", [16, 2]),
        node("Split", "boxes parts", "dist cls", axis=1),
        constant("four", [0, 4, 4, -1]),
        node("Reshape", "dist four", "d4"),
        node("Transpose", "d4", "d5", perm=[0, 2, 1, 3]),
        node("Softmax", "d5", "d6", axis=1),
        node("Conv", "d6 dfl", "d7"),
        constant("three", [0, 4, -1]),
        node("Reshape", "d7 three", "d8"),
        constant("s0", [0]),
        constant("s2", [2]),
        constant("s4", [4]),
        constant("axis1", [1]),
        node("Slice", "d8 s0 s2 axis1", "lt"),
        node("Slice", "d8 s2 s4 axis1", "rb"),
        node("Sub", "anchors lt", "x1"),
        node("Add", "anchors rb", "x2"),
        node("Sigmoid", "cls", "score"),
        node("Concat", "x1 x2 score", "y", axis=1),
    ]
    stored = [weight("w", 18, 3, 3, 3), weight("b", 18), weight("dfl", 1, 4, 1, 1)]
    return file(nodes, stored, shape=("batch", 3, "height", "width"), opset=17, ir_version=8, producer="pytorch")


# ----------------------------------------------------------------------------------------- functions and control flow


def inner(nodes: Sequence[onnx.NodeProto], *outputs: str, stored: Sequence[TensorProto] = ()) -> onnx.GraphProto:
    """A branch."""
    infos = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    return helper.make_graph(list(nodes), "branch", [], infos, list(stored))


@style
def torch_squeeze_under_a_condition() -> onnx.ModelProto:
    """``x.squeeze(2)`` as TorchScript's exporter writes it where it does not know the size, once each way."""
    nodes = [node("GlobalAveragePool", "x", "pool"), node("Conv", "x w", "conv")]
    for name, source in (("flat", "pool"), ("kept", "conv")):
        nodes += [
            node("Shape", source, f"{name}.shape"),
            constant(f"{name}.two", 2),
            node("Gather", f"{name}.shape {name}.two", f"{name}.size", axis=0),
            constant(f"{name}.one", 1),
            node("Equal", f"{name}.size {name}.one", f"{name}.cond"),
            node(
                "If",
                f"{name}.cond",
                name,
                then_branch=inner([constant("axis", [2]), node("Squeeze", f"{source} axis", "out")], "out"),
                else_branch=inner([node("Identity", source, "out")], "out"),
            ),
        ]
    nodes += [node("Flatten", "flat", "a"), node("Flatten", "kept", "b"), node("Concat", "a b", "y", axis=1)]
    return file(nodes, [weight("w", 4, 3, 3, 3)], shape=("b", 3, 8, 8), opset=13, producer="pytorch")


@style
def scripted_branches_inside_branches() -> onnx.ModelProto:
    """Weights, Dropout and another condition inside the branch that is taken; the other one cannot be read."""
    deep = inner([node("Conv", "m w2", "d"), node("Dropout", "d ratio", "e mask")], "e", stored=[weight("w2", 2, 4, 1, 1)])
    nowhere = inner([node("LSTM", "m no no", "z")], "z", stored=[weight("no", 1)])
    fork = node("If", "yes", "i", then_branch=deep, else_branch=nowhere)
    half = constant("ratio", 0.5, np.float32)
    outer = inner([half, node("Relu", "c", "m"), fork, node("Add", "i i", "o")], "o")
    other = inner([node("LSTM", "c w w", "o")], "o")
    nodes = [
        node("Conv", "x w", "c"),
        node("If", "no", "y", then_branch=other, else_branch=outer),
    ]
    stored = [weight("w", 4, 3, 3, 3), tensor("yes", True, np.bool_), tensor("no", False, np.bool_)]
    return file(nodes, stored, opset=13)


@style
def functions_of_a_file() -> onnx.ModelProto:
    """A block that calls an activation, as torch's exporter keeps modules and ATen operators as functions."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("pkg", 1)]
    slope = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    leaky = node("LeakyRelu", "a", "t")
    leaky.attribute.append(slope)
    act = helper.make_function("pkg", "act", ["a"], ["b"], [leaky, node("Neg", "t", "b")], opsets, ["slope"])
    called = node("act", "t", "b", domain="pkg", slope=0.3)
    block = helper.make_function("pkg", "block", ["a", "w"], ["b"], [node("Conv", "a w", "t"), called], opsets)
    nodes = [node("block", "x w", "m", domain="pkg"), node("block", "m w2", "y", domain="pkg")]
    proto = file(nodes, [weight("w", 4, 3, 3, 3), weight("w2", 4, 4, 3, 3)], opset=18, ir_version=8, producer="pytorch")
    proto.functions.extend([act, block])
    proto.opset_import.append(helper.make_opsetid("pkg", 1))
    return proto


# ---------------------------------------------------------------------------------------------- optimised and odd files


@style
def onnxsim_scalars_of_one() -> onnx.ModelProto:
    """Constants as initializers of shape [] and [1], optional inputs absent by name."""
    nodes = [
        node("Conv", "x w -", "c"),
        node("Clip", "c - six", "a"),
        node("Mul", "a sixth", "b"),
        node("Resize", "b - scales", "d", mode="nearest"),
        node("Clip", "d low -", "y"),
    ]
    stored = [weight("w", 4, 3, 3, 3), scalar("six", 0.6), floats("sixth", 1 / 6), floats("scales", 1, 1, 2, 2)]
    return file(nodes, [*stored, scalar("low", 0.01)], opset=13, ir_version=8)


@style
def unused_and_listed_initializers() -> onnx.ModelProto:
    nodes = [node("Conv", "x w", "y")]
    proto = file(nodes, [weight("w", 4, 3, 3, 3), weight("left.over", 7), ints("old", 3)], listed=True)
    proto.graph.input.insert(0, proto.graph.input.pop())
    return proto


@style
def image_behind_the_weights() -> onnx.ModelProto:
    proto = file([node("Conv", "x w", "c"), node("Relu", "c", "y")], [weight("w", 4, 3, 3, 3)], listed=True)
    first = proto.graph.input.pop(0)
    proto.graph.input.append(first)
    return proto


@style
def wrong_value_info() -> onnx.ModelProto:
    """A file whose batch, or image, was changed by hand: what it notes of shapes is no longer so."""
    proto = file([node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Flatten", "r", "y")], [weight("w", 4, 3, 3, 3)])
    proto.graph.value_info.append(helper.make_tensor_value_info("c", FLOAT, [7, 4, 222, 222]))
    proto.graph.value_info.append(helper.make_tensor_value_info("nowhere", FLOAT, [1]))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, ["out", "features"]))
    return proto


@style
def domain_written_out() -> onnx.ModelProto:
    proto = file([node("Conv", "x w", "c", domain="ai.onnx"), node("Relu", "c", "y")], [weight("w", 4, 3, 3, 3)])
    proto.opset_import[0].domain = "ai.onnx"
    return proto


@style
def domain_written_twice() -> onnx.ModelProto:
    proto = file([node("Conv", "x w", "c"), node("Relu", "c", "y", domain="ai.onnx")], [weight("w", 4, 3, 3, 3)])
    proto.opset_import.extend([helper.make_opsetid("ai.onnx", 11), helper.make_opsetid("com.microsoft", 1)])
    return proto


def open_sizes(proto: onnx.ModelProto) -> bool:
    image = next(value for value in proto.graph.input if value.name == "x")
    return any(not dim.dim_value or dim.dim_value < 0 for dim in image.type.tensor_type.shape.dim[1:])


def reference(proto: onnx.ModelProto, x: Array) -> Mapping[str, Array]:
    """What onnxruntime computes, image by image where the file takes one only."""
    image = next(value for value in proto.graph.input if value.name == "x")
    first = image.type.tensor_type.shape.dim[0]
    if first.dim_value != 1:
        return run(proto, x, "x")
    each = [run(proto, x[i : i + 1], "x") for i in range(len(x))]
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def outputs(graph: Graph, x: Array) -> dict[str, Array]:
    with torch.no_grad():
        return {name: y.numpy() for name, y in Twin(graph).eval()(torch.from_numpy(x)).items()}


def given(graph: Graph, x: Array) -> Array:
    """The image as the file takes it."""
    last = any("channels last" in note for note in graph.notes)
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x


@pytest.mark.parametrize("name", STYLES)
def test_a_file_in_this_style_computes_the_same(name: str, tmp_path: Path) -> None:
    proto = STYLES[name]()
    graph = read(save(proto, tmp_path), input_size=(8, 8) if open_sizes(proto) else None)
    for batch in (1, 2):
        x = image(batch, *[size or 0 for size in shape_of(graph.input)[1:]])
        assert_close(outputs(graph, x), reference(proto, given(graph, x)))
