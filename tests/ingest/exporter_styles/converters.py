"""Core ML tools, CNTK and MATLAB: one image at a time, means and scales as nodes."""

from __future__ import annotations

import onnx
from onnx_models import weight

from exporter_styles.writing import file, ints, node, norm, norm_inputs, scalar, style


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
        node("MeanVarianceNormalization", "cb", "n", axes=[2, 3]),
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
