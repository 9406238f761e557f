"""Windows that the file merges with the batch, ``[N·P, C, h, w]``, and that are ``[N, P, C, h, w]`` in the Graph.

What works on them needs the batch first and the channels second. A pool takes each channel by itself, so windows count
as channels for it; so they do for an InstanceNormalization, once it scales nothing. A convolution of one pixel takes
each pixel by itself, so windows lie below each other for it. Any other gets one axis more, of which its kernel spans
one window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.ingest.onnx_file.adapters.decompose import become
from trunkline.ingest.onnx_file.batch.batch_place import BatchAxis
from trunkline.ingest.onnx_file.batch.freeing import Freeing, batch_error, merged_text
from trunkline.ingest.onnx_file.batch.merged_products import plain_attributes, put_before

_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
_CONVOLUTIONS = ("Conv", "ConvTranspose")
WINDOWS = (*_POOLS, *_CONVOLUTIONS, "InstanceNormalization")
_MOST_AXES = 2
"""Rows and columns: with windows that makes three, and nothing convolves along four."""


def windows(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    """Rewrite ``node`` for windows, and return where its result merges the batch."""
    data = node.inputs[0]
    assert data is not None
    spatial = state.rank(data) - 2
    is_windows = axis.axis == 0 and axis.before == 1 and 1 <= spatial <= _MOST_AXES
    if not is_windows or len(node.outputs) > 1:  # a second output holds places in the merged value
        raise batch_error(node, f"needs images first and channels second; the file merges {merged_text(axis)}")
    if node.op_type in _POOLS:
        _pool(node, state, data)
    elif node.op_type == "InstanceNormalization":
        _normalise(node, state, data)
    elif _is_pixelwise(node):
        _convolve_pixels(node, state, data)
    else:
        _convolve_each(node, state, data)
    return axis


def _pool(node: ir.Node, state: Freeing, data: ir.Value) -> None:
    count, channels, *size = _sizes_behind_batch(data)
    merged = _reshape(node, state, data, [-1, count * channels, *size])
    pooled = put_before(node, state, node.op_type, [merged], **plain_attributes(node))
    _become_reshape(node, state, pooled, [-1, count, channels, *_sizes_behind_batch(pooled)[1:]])


def _normalise(node: ir.Node, state: Freeing, data: ir.Value) -> None:
    """Normalise windows as channels, with a scale of one and no shift, and scale and shift the channels behind it."""
    count, channels, *size = _sizes_behind_batch(data)
    scale, bias = (_per_channel(node, state, value, len(size)) for value in node.inputs[1:3])
    merged = _reshape(node, state, data, [-1, count * channels, *size])
    ones = state.editor.constant(f"{name_of(node)}.ones", np.ones(count * channels, np.float32))
    zeros = state.editor.constant(f"{name_of(node)}.zeros", np.zeros(count * channels, np.float32))
    normal = put_before(node, state, "InstanceNormalization", [merged, ones, zeros], **plain_attributes(node))
    parted = _reshape(node, state, normal, [-1, count, channels, *size])
    become(node, "Add", [put_before(node, state, "Mul", [parted, scale]), bias])


def _per_channel(node: ir.Node, state: Freeing, weight: ir.Value | None, spatial: int) -> ir.Value:
    assert weight is not None
    axes = state.editor.constant(f"{name_of(node)}.behind", np.arange(1, spatial + 1))
    return put_before(node, state, "Unsqueeze", [weight, axes])


def _convolve_pixels(node: ir.Node, state: Freeing, data: ir.Value) -> None:
    count, channels, rows, *columns = _sizes_behind_batch(data)
    turned = put_before(node, state, "Transpose", [data], perm=_turn(data))
    below = _reshape(node, state, turned, [-1, channels, count * rows, *columns])
    result = put_before(node, state, "Conv", [below, *node.inputs[1:]], **plain_attributes(node))
    parted = _reshape(node, state, result, [-1, _sizes_behind_batch(result)[0], count, rows, *columns])
    become(node, "Transpose", [parted], perm=_turn(data))


def _convolve_each(node: ir.Node, state: Freeing, data: ir.Value) -> None:
    """Convolve along one axis more, that of the windows, of which the kernel spans one."""
    weight = node.inputs[1]
    assert weight is not None
    turned = put_before(node, state, "Transpose", [data], perm=_turn(data))
    place = state.editor.constant(f"{name_of(node)}.window_axis", [2], np.int64)
    kernel = put_before(node, state, "Unsqueeze", [weight, place])
    settings = plain_attributes(node)
    added = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0}
    settings |= {name: [one, *attribute(node, name)] for name, one in added.items() if name in settings}
    begins_and_ends = attribute(node, "pads")
    half = len(begins_and_ends) // 2
    settings["pads"] = [0, *begins_and_ends[:half], 0, *begins_and_ends[half:]]
    result = put_before(node, state, node.op_type, [turned, kernel, *node.inputs[2:]], **settings)
    become(node, "Transpose", [result], perm=_turn(data))


def _turn(data: ir.Value) -> list[int]:
    """Return how windows and channels change places, and back."""
    return [0, 2, 1, *range(3, len(shape_of(data)))]


def _is_pixelwise(node: ir.Node) -> bool:
    ones = (*attribute(node, "kernel_shape"), *attribute(node, "strides"))
    return node.op_type == "Conv" and set(ones) == {1} and not any(attribute(node, "pads"))


def _sizes_behind_batch(value: ir.Value) -> list[int]:
    """Return the sizes of ``value`` behind its batch."""
    return [size or 1 for size in shape_of(value)[1:]]


def _reshape(node: ir.Node, state: Freeing, value: ir.Value, sizes: Sequence[int]) -> ir.Value:
    target = state.editor.constant(f"{name_of(node)}.shape", sizes, np.int64)
    return put_before(node, state, "Reshape", [value, target], allowzero=0)


def _become_reshape(node: ir.Node, state: Freeing, value: ir.Value, sizes: Sequence[int]) -> None:
    become(node, "Reshape", [value, state.editor.constant(f"{name_of(node)}.shape", sizes, np.int64)], allowzero=0)
