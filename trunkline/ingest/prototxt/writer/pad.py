"""Pad: part of the pooling after it, DeepLab's Padding, or the Pad layer of the Synopsys fork."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute, name_of
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError
from trunkline.ingest.prototxt.writer.net import Setting, block
from trunkline.ingest.prototxt.writer.padding import Pads


def pad(to: Emitter, node: ir.Node) -> None:
    """Pad → nothing, Padding or Pad.

    1. Nothing, where average poolings alone read it, and take it in as their own padding.
    2. DeepLab's Padding, where it adds zeros: as many above as on the left, as many below as on the right.
    3. The Synopsys fork's Pad otherwise.
    """
    readers = [reader for reader, _ in node.outputs[0].uses()]
    is_taken_in = bool(readers) and all(fused_pad(reader) is node for reader in readers)
    if is_taken_in and not node.outputs[0].is_graph_output():  # rule 1
        return
    pads = zero_pads(node)
    if pads is not None and pads[0] == pads[1] and pads[2] == pads[3] and min(pads) >= 0:  # rule 2
        to.note(f"{name_of(node)} became a Padding layer, which DeepLab's fork of Caffe has")
        to.layer(node, "Padding", block("padding_param", {"pad_beg": pads[0], "pad_end": pads[2]}))
        return
    before, after, border = _border(node)
    if min(*before, *after) < 0 or before[0] or after[0]:
        raise InexpressibleError("it cuts, or pads the batch")
    to.note(f"{name_of(node)} became a Pad layer, which the Synopsys fork of Caffe has")
    # The fork goes axis by axis, before and after; ONNX has all that is before, then all that is after.
    settings: dict[str, Setting] = {"paddings": [side for axis in zip(before, after, strict=True) for side in axis]}
    if border:
        settings["constant_values"] = border
    to.layer(node, "Pad", block("pad_param", settings))


def fused_pad(node: ir.Node) -> ir.Node | None:
    """Return the Pad before an average pooling that is, in Caffe, the pooling's own padding.

    Caffe's average counts zeros that it pads with, so the reader splits such a pooling into these two nodes.
    """
    data = node.inputs[0]
    producer = None if data is None else data.producer()
    if node.op_type != "AveragePool" or producer is None or producer.op_type != "Pad":
        return None
    # More padding at the end alone is what the reader adds where Caffe rounds up.
    if any(attribute(node, "pads", [0])[:2]) or attribute(node, "count_include_pad", 0):
        return None
    pads, kernel = zero_pads(producer), attribute(node, "kernel_shape")
    if pads is None:
        return None
    is_accepted = all(0 <= side < size for side, size in zip(pads, kernel * 2, strict=True))  # by Caffe's pooling
    return producer if is_accepted else None


def zero_pads(node: ir.Node) -> Pads | None:
    """Return what a Pad adds to height and width, ``None`` where it does anything else."""
    try:
        before, after, border = _border(node)
    except InexpressibleError:
        return None
    if len(before) != 4 or any((*before[:2], *after[:2])) or border:
        return None
    return before[2], before[3], after[2], after[3]


def _border(node: ir.Node) -> tuple[list[int], list[int], float]:
    """Return what a Pad adds before and after each axis, and the number that it adds."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    stored = [node.inputs[1], *([] if value is None else [value])]
    plain = len(node.inputs) < 4 and attribute(node, "mode", "constant") == "constant"  # the fourth input is axes
    if not plain or any(item is None or not item.is_initializer() for item in stored):
        raise InexpressibleError("it does not pad each axis with a stored number")
    assert node.inputs[1] is not None
    pads = [int(side) for side in array_of(node.inputs[1]).ravel()]
    border = 0.0 if value is None else float(np.ravel(array_of(value))[0])
    return pads[: len(pads) // 2], pads[len(pads) // 2 :], border


WRITERS: dict[str, Emit] = {"Pad": pad}
