"""Layers that only move numbers: Flatten, Reshape, Permute, ShuffleChannel, Reorg. The batch stays free in all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.layer import Layer, Translator


def flatten(layer: Layer) -> ir.Value:
    """Flatten → Flatten, or Reshape where it does not reach the last axis."""
    fields = layer.fields.block("flatten_param")
    rank = len(layer.shape()) + 1
    start, end = layer.axis(fields), layer.axis(fields, default=-1, name="end_axis")
    if end < start:
        raise layer.layer_error(f"{layer.text} flattens axes {start} to {end}", "end_axis", within=fields)
    if (start, end) == (1, rank - 1):
        return layer.node("Flatten", layer.inputs, {"axis": 1})
    sizes = layer.shape()
    return _reshape(layer, [*sizes[: start - 1], math.prod(sizes[start - 1 : end]), *sizes[end:]])


def reshape(layer: Layer) -> ir.Value:
    """Reshape → Reshape with every size spelt out, except the batch, which is copied."""
    fields = layer.fields.block("reshape_param")
    dims = fields.block("shape").integers("dim", minimum=-1)
    before = (0, *layer.shape())
    start = fields.integer("axis", 0, minimum=-8)
    start = start + len(before) + 1 if start < 0 else start  # as in Caffe, -1 is behind the last axis
    count = fields.integer("num_axes", -1, minimum=-1)
    end = len(before) if count < 0 else start + count
    if not 0 <= start <= end <= len(before):
        raise layer.layer_error(
            f"{layer.text}: axis and num_axes do not fit its input {layer.written()}", within=fields
        )
    copied = []
    for position, size in enumerate(dims, start):
        is_copy = size == 0 and position < len(before)  # 0 is Caffe's sign for "as it was"
        copied.append(before[position] if is_copy else size)
    if start == 0 and dims and dims[0] != 0:
        copied[0] = 0  # the file's batch size, or the rest: either way the batch, which the count below confirms
    after = [*before[:start], *copied, *before[end:]]
    return _reshape(layer, _resolved(layer, after))


def permute(layer: Layer) -> ir.Value:
    """Permute → Transpose; axes not named keep their order, and the batch stays first."""
    fields = layer.fields.block("permute_param")
    order = fields.integers("order")
    rank = len(layer.shape()) + 1
    order += [axis for axis in range(rank) if axis not in order]  # as in the SSD fork, where this layer comes from
    if sorted(order) != list(range(rank)) or order[0] != 0:
        raise layer.layer_error(f"{layer.text} has order {order}", "order", "name each axis once, 0 first", fields)
    return layer.node("Transpose", layer.inputs, {"perm": order})


def shuffle_channel(layer: Layer) -> ir.Value:
    """ShuffleChannel → Reshape, Transpose, Reshape (Zhang et al. 2018, section 3.1)."""
    fields = layer.fields.block("shuffle_channel_param")
    group = fields.integer("group", 1, minimum=1)
    channels, height, width = layer.image()
    if channels % group:
        message = f"{layer.text}: {channels} channels cannot be shuffled in {group} groups"
        raise layer.layer_error(message, "group", within=fields)
    grouped = _target(layer, "grouped", [group, channels // group, height, width])
    value = layer.step("group", "Reshape", [layer.inputs[0], grouped], {"allowzero": 0})
    value = layer.step("swap", "Transpose", [value], {"perm": (0, 2, 1, 3, 4)})
    return _reshape_value(layer, value, layer.shape())


def reorg(layer: Layer) -> ir.Value:
    """Reorg of the YOLO forks → Reshape, Transpose, Reshape; with ``reverse`` → DepthToSpace.

    Its forward form reads the image as if it had C / stride² channels of stride times the height and width, and
    spreads that over the channels. That is how Darknet computes it, and what its weights are trained for.
    """
    fields = layer.fields.block("reorg_param")
    channels, height, width = layer.image()
    if not fields.has("stride"):
        raise layer.missing_field_error(fields, "stride", "add the factor by which height and width change")
    stride = fields.integer("stride", 1, minimum=1)
    if channels % stride**2:
        message = f"{layer.text}: {channels} channels are no multiple of stride² = {stride**2}"
        raise layer.layer_error(message, "stride", within=fields)
    if fields.flag("reverse", False):
        return layer.node("DepthToSpace", layer.inputs, {"blocksize": stride, "mode": "DCR"})
    if height % stride or width % stride:
        message = f"{layer.text}: height {height} and width {width} are no multiples of stride {stride}"
        raise layer.layer_error(message, "stride", within=fields)
    apart = _target(layer, "apart", [channels // stride**2, height, stride, width, stride])
    value = layer.step("apart", "Reshape", [layer.inputs[0], apart], {"allowzero": 0})
    value = layer.step("swap", "Transpose", [value], {"perm": (0, 3, 5, 1, 2, 4)})
    return _reshape_value(layer, value, [channels * stride**2, height // stride, width // stride])


def _resolved(layer: Layer, after: Sequence[int]) -> list[int]:
    """Return the target sizes without the batch, -1 worked out; the element count must not change."""
    total, sizes = math.prod(layer.shape()), list(after[1:])
    known = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and known and total % known == 0:
        sizes[sizes.index(-1)] = total // known
    keeps_batch = bool(after) and after[0] == 0
    if not keeps_batch or -1 in sizes or math.prod(sizes) != total:
        found = " x ".join(map(str, after)) or "nothing"
        advice = "keep the batch on the first axis (dim: 0), and the element count"
        raise layer.layer_error(f"{layer.text} cannot make {found} of {layer.written()}", "reshape_param", advice)
    return sizes


def _reshape(layer: Layer, sizes: Sequence[int]) -> ir.Value:
    return _reshape_value(layer, layer.inputs[0], sizes)


def _reshape_value(layer: Layer, value: ir.Value, sizes: Sequence[int]) -> ir.Value:
    return layer.node("Reshape", [value, _target(layer, "shape", sizes)], {"allowzero": 0})


def _target(layer: Layer, role: str, sizes: Sequence[int]) -> ir.Value:
    return layer.constant(role, np.array([0, *sizes], dtype=np.int64))


LAYERS = {
    "Flatten": Translator(flatten),
    "Reshape": Translator(reshape),
    "Permute": Translator(permute),
    "Reorg": Translator(reorg),
    "ShuffleChannel": Translator(shuffle_channel),
}
