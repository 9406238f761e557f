"""Convolutions and pools on windows that the file merges with the batch: ``[N·P, C, h, w]``, in the Graph ``[N, P, C, h, w]``.

They need the batch first and the channels second. A pool takes each channel by itself, so windows count as channels for
it. A convolution of one pixel takes each pixel by itself, so windows lie below each other for it. Any other is one of
three axes, of which its kernel spans one window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from trunkline.ingest.graph import attribute, name_of, shape_of
from trunkline.ingest.onnx_file.adapters.decompose import become
from trunkline.ingest.passes.batch_place import BatchAxis
from trunkline.ingest.passes.freeing import Freeing, merged_text, refused
from trunkline.ingest.passes.merged_products import plain_attributes, put_before

_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
WINDOWS = ("Conv", *_POOLS)
_WINDOWS_BEHIND_CHANNELS = [0, 2, 1, 3, 4]


def windows(node: ir.Node, state: Freeing, axis: BatchAxis) -> BatchAxis:
    """Rewrite a convolution or pool of two axes, and return where its result merges the batch."""
    data = node.inputs[0]
    assert data is not None
    if axis.axis != 0 or axis.before > 1 or state.rank(data) != 4 or len(node.outputs) > 1:
        raise refused(node, f"needs images first and channels second; the file merges {merged_text(axis)}")
    if node.op_type in _POOLS:
        _pool(node, state, data)
    elif _is_pixelwise(node):
        _convolve_pixels(node, state, data)
    else:
        _convolve_each(node, state, data)
    return axis


def _pool(node: ir.Node, state: Freeing, data: ir.Value) -> None:
    count, channels, *size = _sizes(data)
    merged = _reshape(node, state, data, [-1, count * channels, *size])
    pooled = put_before(node, state, node.op_type, [merged], **plain_attributes(node))
    _become_reshape(node, state, pooled, [-1, count, channels, *_sizes(pooled)[1:]])


def _convolve_pixels(node: ir.Node, state: Freeing, data: ir.Value) -> None:
    count, channels, height, width = _sizes(data)
    turned = put_before(node, state, "Transpose", [data], perm=_WINDOWS_BEHIND_CHANNELS)
    below = _reshape(node, state, turned, [-1, channels, count * height, width])
    result = put_before(node, state, "Conv", [below, *node.inputs[1:]], **plain_attributes(node))
    parted = _reshape(node, state, result, [-1, _sizes(result)[0], count, height, width])
    become(node, "Transpose", [parted], perm=_WINDOWS_BEHIND_CHANNELS)


def _convolve_each(node: ir.Node, state: Freeing, data: ir.Value) -> None:
    weight, begins_and_ends = node.inputs[1], attribute(node, "pads")
    assert weight is not None
    turned = put_before(node, state, "Transpose", [data], perm=_WINDOWS_BEHIND_CHANNELS)
    place = state.editor.constant(f"{name_of(node)}.window_axis", [2], np.int64)
    kernel = put_before(node, state, "Unsqueeze", [weight, place])
    settings = plain_attributes(node)
    settings |= {name: [1, *attribute(node, name)] for name in ("kernel_shape", "strides", "dilations")}
    settings["pads"] = [0, *begins_and_ends[:2], 0, *begins_and_ends[2:]]
    result = put_before(node, state, "Conv", [turned, kernel, *node.inputs[2:]], **settings)
    become(node, "Transpose", [result], perm=_WINDOWS_BEHIND_CHANNELS)


def _is_pixelwise(node: ir.Node) -> bool:
    ones = (*attribute(node, "kernel_shape"), *attribute(node, "strides"))
    return set(ones) == {1} and not any(attribute(node, "pads"))


def _sizes(value: ir.Value) -> list[int]:
    """Return the sizes of ``value`` behind its batch."""
    return [size or 1 for size in shape_of(value)[1:]]


def _reshape(node: ir.Node, state: Freeing, value: ir.Value, sizes: Sequence[int]) -> ir.Value:
    target = state.editor.constant(f"{name_of(node)}.shape", sizes, np.int64)
    return put_before(node, state, "Reshape", [value, target], allowzero=0)


def _become_reshape(node: ir.Node, state: Freeing, value: ir.Value, sizes: Sequence[int]) -> None:
    become(node, "Reshape", [value, state.editor.constant(f"{name_of(node)}.shape", sizes, np.int64)], allowzero=0)
