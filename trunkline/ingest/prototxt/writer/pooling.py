"""Pooling, by the rules that :mod:`trunkline.ingest.prototxt.layers.pooling` reads.

Caffe rounds the number of windows up; rounding down is written only where that gives another size. What Caffe cannot
say, an average over the pixels alone or a padding at one end, is written in the Synopsys fork's fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute, name_of
from trunkline.ingest.prototxt.layers.pooling import output_size
from trunkline.ingest.prototxt.writer.convolution import pads_of, pair_settings
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, sizes
from trunkline.ingest.prototxt.writer.net import Setting, block
from trunkline.ingest.prototxt.writer.pad import fused_pad, zero_pads
from trunkline.ingest.prototxt.writer.padding import Pads, is_symmetric, pad_settings
from trunkline.text import shape_text

Pair = tuple[int, int]
Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _WindowAxis:
    """The windows along height or width."""

    size: int
    kernel: int
    stride: int
    pads: Pair

    @property
    def is_accepted(self) -> bool:
        """Whether Caffe takes the padding, and the window fits into the padded input."""
        return max(self.pads) < self.kernel <= self.size + sum(self.pads)


def max_pool(to: Emitter, node: ir.Node) -> None:
    """MaxPool → Pooling MAX. Padding never wins, so the padding at the end matters only to the number of windows."""
    if len(node.outputs) > 1:
        raise InexpressibleError("it gives a mask, whose meaning Caffe's differs from")
    if _covers_all(to, node):
        global_pool("MAX")(to, node)
        return
    pads = pads_of(node)
    # First with equal ends, which Caffe itself has, then with the file's, which only a fork has.
    _write(to, node, to.data(node), [("MAX", (*pads[:2], *pads[:2])), ("MAX", pads)])


def average_pool(to: Emitter, node: ir.Node) -> None:
    """AveragePool → Pooling AVE, where the two divide by the same numbers."""
    pads, counts = pads_of(node), bool(attribute(node, "count_include_pad", 0))
    pad = fused_pad(node)
    if pad is not None:
        _write(to, node, to.data(pad), [("AVE", zero_pads(pad) or (0, 0, 0, 0))])
        return
    if _covers_all(to, node) and (not counts or not any(pads)):
        global_pool("AVE")(to, node)
        return
    if counts and any(pads):
        if attribute(node, "ceil_mode", 0):
            raise InexpressibleError("its average counts padding that Caffe does not have")
        _write(to, node, to.data(node), [("AVE", pads)])
        return
    # Without padding Caffe's average, too, divides by the pixels alone.
    plain = [] if any(pads[:2]) else [("AVE", (0, 0, 0, 0))]
    _write(to, node, to.data(node), [*plain, ("AVE_EXC_PAD", (*pads[:2], *pads[:2])), ("AVE_EXC_PAD", pads)])


def global_pool(kind: str) -> Emit:
    """Return the writer of a pooling over all of a feature map."""

    def emit(to: Emitter, node: ir.Node) -> None:
        to.layer(node, "Pooling", block("pooling_param", {"pool": kind, "global_pooling": True}))

    return emit


def reduction(kind: str) -> Emit:
    """Return the writer of a reduction over height and width → global Pooling, and Flatten without kept axes."""

    def emit(to: Emitter, node: ir.Node) -> None:
        data, rank = to.data(node), len(sizes(to.data(node)))
        has_axes = len(node.inputs) > 1 and node.inputs[1] is not None
        axes = array_of(to.axes(node, 1)).ravel().tolist() if has_axes else []
        if rank != 4 or sorted(axis % rank for axis in axes) != [2, 3]:
            raise InexpressibleError(
                f"it reduces axes {axes} of {shape_text(data.shape)}; Caffe pools height and width"
            )
        settings = block("pooling_param", {"pool": kind, "global_pooling": True})
        if attribute(node, "keepdims", 1):
            to.layer(node, "Pooling", settings)
            return
        pooled = to.step(node, "pool", "Pooling", name_of(data), settings)
        to.add(name_of(node), "Flatten", [pooled], to.tops(node))

    return emit


def _covers_all(to: Emitter, node: ir.Node) -> bool:
    """Whether the one window of a pooling reaches over the whole feature map, and its padding."""
    shape, kernel, pads = sizes(to.data(node)), attribute(node, "kernel_shape"), attribute(node, "pads", [0, 0, 0, 0])
    has_one_window = len(shape) == 4 and sizes(node.outputs[0])[2:] == (1, 1)
    if not has_one_window or any(step != 1 for step in attribute(node, "dilations", [1])):
        return False
    return all(pad + size <= extent for size, extent, pad in zip(shape[2:], kernel, pads[:2], strict=True))


def _write(to: Emitter, node: ir.Node, data: ir.Value, choices: Sequence[tuple[str, Pads]]) -> None:
    """Write a pooling with the first kind and padding that give its size, rounded up if possible."""
    is_dilated = any(step != 1 for step in attribute(node, "dilations", [1]))
    if len(sizes(data)) != 4 or is_dilated:
        raise InexpressibleError("it is no pooling of a feature map without dilation")
    kernel, stride = attribute(node, "kernel_shape"), attribute(node, "strides", [1, 1])
    wanted = sizes(node.outputs[0])[2:]
    found = _fitting(sizes(data)[2:], (kernel[0], kernel[1]), (stride[0], stride[1]), choices, wanted)
    if found is None:
        raise InexpressibleError(f"Caffe's windows do not give {wanted[0]} x {wanted[1]} with such a padding")
    kind, pads, up = found
    if kind == "AVE_EXC_PAD":
        to.note("AVE_EXC_PAD was written, which the Synopsys fork of Caffe has")
    settings: dict[str, Setting] = {"pool": kind}
    settings |= pair_settings("kernel_size", ("kernel_h", "kernel_w"), (kernel[0], kernel[1]), 0)
    settings |= pair_settings("stride", ("stride_h", "stride_w"), (stride[0], stride[1]), 1)
    settings |= pad_settings(to, pads)
    if not up:
        # round_mode is Caffe's; a layer that only the Synopsys fork can read gets ceil_mode, as that fork names it.
        is_caffe = kind != "AVE_EXC_PAD" and is_symmetric(pads)
        settings |= {"round_mode": "FLOOR"} if is_caffe else {"ceil_mode": False}
    to.add(name_of(node), "Pooling", [name_of(data)], to.tops(node), block("pooling_param", settings))


def _fitting(
    size: Sizes, kernel: Pair, stride: Pair, choices: Sequence[tuple[str, Pads]], wanted: Sizes
) -> tuple[str, Pads, bool] | None:
    """Return the first choice and rounding with which Caffe makes ``wanted`` windows, and would accept the layer."""
    for (kind, pads), up in product(choices, (True, False)):
        ends = zip(pads[:2], pads[2:], strict=True)
        axes = [_WindowAxis(*axis) for axis in zip(size, kernel, stride, ends, strict=True)]
        if not all(axis.is_accepted for axis in axes) or (up and _has_empty_windows(axes)):
            continue
        if tuple(output_size(axis.size, axis.kernel, axis.stride, axis.pads, up) for axis in axes) == wanted:
            return kind, pads, up
    return None


def _has_empty_windows(axes: Sequence[_WindowAxis]) -> bool:
    """Whether rounding up gives a window beyond the input, which Caffe drops only where there is padding."""
    if any(any(axis.pads) for axis in axes):
        return False
    last_starts = [-(-(axis.size - axis.kernel) // axis.stride) * axis.stride for axis in axes]
    return any(start >= axis.size for start, axis in zip(last_starts, axes, strict=True))


WRITERS: dict[str, Emit] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalMaxPool": global_pool("MAX"),
    "GlobalAveragePool": global_pool("AVE"),
    "ReduceMax": reduction("MAX"),
    "ReduceMean": reduction("AVE"),
}
