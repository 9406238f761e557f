"""TensorFlow and Keras, by tf2onnx and keras2onnx: channels last, padding on its own, constants everywhere."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto
from onnx_models import tensor, weight

from exporter_styles.writing import FLOAT, file, floats, ints, node, norm, norm_inputs, scalar, style


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
