"""Conv, ConvTranspose, Gemm and MatMul → Convolution, Deconvolution and InnerProduct."""

from __future__ import annotations

import math

import onnx_ir as ir

from trunkline.graph.graph import attribute, shape_of
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, blob, sizes
from trunkline.ingest.prototxt.writer.net import CaffeBlob, Setting, block
from trunkline.ingest.prototxt.writer.padding import Pads, pad_settings
from trunkline.text import shape_text


def convolution(to: Emitter, node: ir.Node) -> None:
    """Conv → Convolution."""
    weight = to.stored(node, 1, "weight")
    blobs, settings = _weights(to, node, weight, sizes(weight)[0])
    to.layer(node, "Convolution", block("convolution_param", settings), blobs=blobs)


def deconvolution(to: Emitter, node: ir.Node) -> None:
    """ConvTranspose → Deconvolution; both keep the weight as ``[C, M / group, kh, kw]``."""
    weight = to.stored(node, 1, "weight")
    if any(attribute(node, "output_padding", [0])):  # Caffe's output size has no such term
        raise InexpressibleError("it has output_padding")
    blobs, settings = _weights(to, node, weight, sizes(weight)[1] * attribute(node, "group", 1))
    to.layer(node, "Deconvolution", block("convolution_param", settings), blobs=blobs)


def gemm(to: Emitter, node: ir.Node) -> None:
    """Gemm → InnerProduct, with ``transpose`` where the weight is ``[K, num_output]``."""
    if attribute(node, "transA", 0):
        raise InexpressibleError("it transposes its data")
    if attribute(node, "alpha", 1.0) != 1 or attribute(node, "beta", 1.0) != 1:
        raise InexpressibleError("it has alpha or beta")
    _inner_product(to, node, transpose=not attribute(node, "transB", 0))


def matmul(to: Emitter, node: ir.Node) -> None:
    """MatMul with a stored matrix → InnerProduct without bias."""
    _inner_product(to, node, transpose=True)


def pair_settings(name: str, sides: tuple[str, str], values: tuple[int, int], default: int) -> dict[str, Setting]:
    """Return one field for both axes, or one for each, or none for the default."""
    if values[0] != values[1]:
        return dict(zip(sides, values, strict=True))
    return {} if values[0] == default else {name: values[0]}


def pads_of(node: ir.Node) -> Pads:
    """Return the padding of a window: above, on the left, below, on the right."""
    top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
    return top, left, bottom, right


def _inner_product(to: Emitter, node: ir.Node, *, transpose: bool) -> None:
    data, weight = to.data(node), to.stored(node, 1, "weight")
    if len(shape_of(data)) != 2 or len(shape_of(weight)) != 2:
        raise InexpressibleError("it is no product of a batch of vectors with a matrix")
    count = sizes(weight)[1 if transpose else 0]  # as [K, num_output], or as [num_output, K]
    settings: dict[str, Setting] = {"num_output": count}
    blobs = [blob(weight)]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        blobs.append(_bias(to, node, count))
    else:
        settings["bias_term"] = False
    if transpose:
        settings["transpose"] = True
    to.layer(node, "InnerProduct", block("inner_product_param", settings), blobs=blobs)


def _weights(to: Emitter, node: ir.Node, weight: ir.Value, count: int) -> tuple[list[CaffeBlob], dict[str, Setting]]:
    """Return the blobs and the settings that Convolution and Deconvolution have in common."""
    if len(shape_of(to.data(node))) != 4:
        raise InexpressibleError(f"its input has shape {to.data(node).shape}; Caffe's has height and width")
    shape = sizes(weight)
    strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    settings: dict[str, Setting] = {"num_output": count}
    blobs = [blob(weight)]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        blobs.append(_bias(to, node, count))
    else:
        settings["bias_term"] = False
    settings |= pad_settings(to, pads_of(node))
    settings |= pair_settings("kernel_size", ("kernel_h", "kernel_w"), (shape[2], shape[3]), 0)
    if (group := attribute(node, "group", 1)) != 1:
        settings["group"] = group
    settings |= pair_settings("stride", ("stride_h", "stride_w"), (strides[0], strides[1]), 1)
    if dilations != [1, 1]:
        # A repeated field, one number an axis, because Caffe has no dilation_h and dilation_w.
        settings["dilation"] = dilations if dilations[0] != dilations[1] else dilations[0]
    return blobs, settings


def _bias(to: Emitter, node: ir.Node, count: int) -> CaffeBlob:
    bias = to.stored(node, 2, "bias")
    # Gemm's C may also be one number for all outputs, or another for each image.
    if math.prod(sizes(bias)) != count or sizes(bias)[-1:] != (count,):
        raise InexpressibleError(f"its bias has shape {shape_text(bias.shape)}; Caffe's has one number per output")
    return blob(bias, (count,))


WRITERS: dict[str, Emit] = {
    "Conv": convolution,
    "ConvTranspose": deconvolution,
    "Gemm": gemm,
    "MatMul": matmul,
}
