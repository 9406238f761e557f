"""Pooling, by the rules that :mod:`trunkline.ingest.prototxt.layers.pooling` reads.

Caffe rounds the number of windows up; ``round_mode: FLOOR`` is written only where that gives another size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from trunkline.ingest.graph import array_of, attribute, name_of
from trunkline.ingest.prototxt.layers.pooling import output_size
from trunkline.ingest.prototxt.writer.convolution import pair_settings
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, sizes
from trunkline.ingest.prototxt.writer.net import Setting, block

Pair = tuple[int, int]


def max_pool(to: Emitter, node: ir.Node) -> None:
    """MaxPool → Pooling MAX. Padding never wins, so only the number of windows has to agree."""
    if len(node.outputs) > 1:
        raise InexpressibleError("it gives a mask, whose meaning Caffe's differs from")
    if _covers_all(to, node):
        global_pool("MAX")(to, node)
        return
    pads = attribute(node, "pads", [0, 0, 0, 0])
    _write(to, node, "MAX", to.data(node), (pads[0], pads[1]))


def average_pool(to: Emitter, node: ir.Node) -> None:
    """AveragePool → Pooling AVE, where the two divide by the same numbers."""
    pads, counts = attribute(node, "pads", [0, 0, 0, 0]), bool(attribute(node, "count_include_pad", 0))
    pad = fused_pad(node)
    if pad is not None:
        before, _, _ = _padding(pad)
        _write(to, node, "AVE", to.data(pad), before)
        return
    if _covers_all(to, node) and (not counts or not any(pads)):
        global_pool("AVE")(to, node)
        return
    within = pads[:2] == pads[2:] and not attribute(node, "ceil_mode", 0)
    if max(pads[:2]) > 0 and not (counts and within):
        raise InexpressibleError("Caffe's average counts padding, and the same at both ends")
    if counts and not within:
        raise InexpressibleError("its average counts padding that Caffe does not have")
    _write(to, node, "AVE", to.data(node), (pads[0], pads[1]))


def global_pool(kind: str) -> Emit:
    """Return the writer of a pooling over all of a feature map."""

    def emit(to: Emitter, node: ir.Node) -> None:
        to.layer(node, "Pooling", block("pooling_param", {"pool": kind, "global_pooling": True}))

    return emit


def reduction(kind: str) -> Emit:
    """Return the writer of a reduction over height and width → global Pooling, and Flatten without kept axes."""

    def emit(to: Emitter, node: ir.Node) -> None:
        data, rank = to.data(node), len(sizes(to.data(node)))
        axes = array_of(to.axes(node, 1)).ravel().tolist() if len(node.inputs) > 1 and node.inputs[1] else []
        if rank != 4 or sorted(axis % rank for axis in axes) != [2, 3]:
            raise InexpressibleError(f"it reduces axes {axes} of {data.shape}; Caffe pools height and width")
        settings = block("pooling_param", {"pool": kind, "global_pooling": True})
        if attribute(node, "keepdims", 1):
            to.layer(node, "Pooling", settings)
            return
        pooled = to.step(node, "pool", "Pooling", name_of(data), settings)
        to.add(name_of(node), "Flatten", [pooled], to.tops(node))

    return emit


def pad(to: Emitter, node: ir.Node) -> None:
    """Pad with zeros → nothing where poolings take it in, else Padding, a layer of DeepLab's fork."""
    before, after, rest = _padding(node)
    readers = [reader for reader, _ in node.outputs[0].uses()]
    if readers and all(fused_pad(reader) is node for reader in readers) and not node.outputs[0].is_graph_output():
        return
    if rest or before[0] != before[1] or after[0] != after[1] or min(*before, *after) < 0:
        raise InexpressibleError("it does not pad height and width alike with zeros")
    to.note(f"{name_of(node)} became a Padding layer, which DeepLab's fork of Caffe has")
    to.layer(node, "Padding", block("padding_param", {"pad_beg": before[0], "pad_end": after[0]}))


def _covers_all(to: Emitter, node: ir.Node) -> bool:
    """Whether the one window of a pooling reaches over the whole feature map, and its padding."""
    shape, kernel, pads = sizes(to.data(node)), attribute(node, "kernel_shape"), attribute(node, "pads", [0, 0, 0, 0])
    if (
        sizes(node.outputs[0])[2:] != (1, 1)
        or len(shape) != 4
        or any(d != 1 for d in attribute(node, "dilations", [1]))
    ):
        return False
    return all(pad + size <= extent for size, extent, pad in zip(shape[2:], kernel, pads[:2], strict=True))


def fused_pad(node: ir.Node) -> ir.Node | None:
    """Return the Pad before an average pooling that is, in Caffe, the pooling's own padding."""
    data = node.inputs[0]
    producer = None if data is None else data.producer()
    if node.op_type != "AveragePool" or producer is None or producer.op_type != "Pad":
        return None
    if any(attribute(node, "pads", [0])[:2]) or attribute(node, "count_include_pad", 0):
        return None
    before, after, rest = _padding(producer)
    kernel = attribute(node, "kernel_shape")
    fits = all(0 <= pad < size for pad, size in zip(before, kernel, strict=True))
    return producer if fits and before == after and not rest else None


def _padding(node: ir.Node) -> tuple[Pair, Pair, bool]:
    """Return what a Pad adds before and after height and width, and whether it does anything else."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    stored = [node.inputs[1], *([] if value is None else [value])]
    plain = len(node.inputs) < 4 and attribute(node, "mode", "constant") == "constant"
    if not plain or any(item is None or not item.is_initializer() for item in stored):
        return (0, 0), (0, 0), True
    assert node.inputs[1] is not None
    pads = array_of(node.inputs[1]).tolist()
    rest = len(pads) != 8 or any(pads[:2] + pads[4:6]) or (value is not None and bool(np.any(array_of(value))))
    return ((0, 0), (0, 0), True) if rest else ((pads[2], pads[3]), (pads[6], pads[7]), False)


def _write(to: Emitter, node: ir.Node, kind: str, data: ir.Value, pad: Pair) -> None:
    if len(sizes(data)) != 4 or any(size != 1 for size in attribute(node, "dilations", [1])):
        raise InexpressibleError("it is no pooling of a feature map without dilation")
    kernel, stride = attribute(node, "kernel_shape"), attribute(node, "strides", [1, 1])
    wanted = sizes(node.outputs[0])[2:]
    axes = list(zip(sizes(data)[2:], kernel, stride, pad, strict=True))
    if any(pad >= size or size > extent + 2 * pad for extent, size, _, pad in axes):
        raise InexpressibleError("its window does not fit into its padded input, or its padding into its window")
    roundings = (False,) if _has_empty_windows(axes) else (True, False)
    fitting = [up for up in roundings if tuple(output_size(*axis, up) for axis in axes) == wanted]
    if not fitting:
        raise InexpressibleError(f"it gives {wanted[0]} x {wanted[1]}, which Caffe's rounding cannot")
    settings: dict[str, Setting] = {"pool": kind}
    settings |= pair_settings("kernel_size", ("kernel_h", "kernel_w"), (kernel[0], kernel[1]), 0)
    settings |= pair_settings("stride", ("stride_h", "stride_w"), (stride[0], stride[1]), 1)
    settings |= pair_settings("pad", ("pad_h", "pad_w"), pad, 0)
    if not fitting[0]:
        settings["round_mode"] = "FLOOR"
    to.add(name_of(node), "Pooling", [name_of(data)], to.tops(node), block("pooling_param", settings))


def _has_empty_windows(axes: Sequence[tuple[int, int, int, int]]) -> bool:
    """Whether rounding up gives a window beyond the input, which Caffe drops only where there is padding."""
    if any(pad for _, _, _, pad in axes):
        return False
    return any(-(-(extent - size) // stride) * stride >= extent for extent, size, stride, _ in axes)


WRITERS: dict[str, Emit] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalMaxPool": global_pool("MAX"),
    "GlobalAveragePool": global_pool("AVE"),
    "ReduceMax": reduction("MAX"),
    "ReduceMean": reduction("AVE"),
    "Pad": pad,
}
