"""Operators that only move numbers: Concat, Split, Reshape and its kin, Transpose."""

from __future__ import annotations

from itertools import accumulate

import onnx_ir as ir

from trunkline.graph.graph import attribute, name_of
from trunkline.ingest.prototxt.writer.emitter import Emit, Emitter, InexpressibleError, sizes
from trunkline.ingest.prototxt.writer.net import Setting, block, sizes_block


def concat(to: Emitter, node: ir.Node) -> None:
    """Concat → Concat."""
    values = [to.data(node, index) for index in range(len(node.inputs))]
    axis = attribute(node, "axis") % len(sizes(values[0]))
    if axis == 0:
        raise InexpressibleError("it joins batches")
    settings = [] if axis == 1 else [block("concat_param", {"axis": axis})]  # 1 is Caffe's default
    to.layer(node, "Concat", *settings)


def split(to: Emitter, node: ir.Node) -> None:
    """Split → Slice at the given places; parts that nothing reads end in Silence."""
    axis = attribute(node, "axis", 0) % len(sizes(to.data(node)))
    if axis == 0:
        raise InexpressibleError("it splits the batch")
    lengths = [sizes(part)[axis] for part in node.outputs]
    # ONNX gives the lengths of the parts, Caffe the places where they begin, but for the first.
    settings: dict[str, Setting] = {"slice_point": list(accumulate(lengths))[:-1]}
    if axis != 1:
        settings["axis"] = axis
    to.layer(node, "Slice", block("slice_param", settings))


def flatten(to: Emitter, node: ir.Node) -> None:
    """Flatten → Flatten."""
    if attribute(node, "axis", 1) % len(sizes(to.data(node))) != 1:
        raise InexpressibleError("it joins the batch with other axes")
    to.layer(node, "Flatten")


def reshape(to: Emitter, node: ir.Node) -> None:
    """Reshape, Squeeze, Unsqueeze → Reshape with the sizes of the result; 0 copies the batch."""
    before, after = to.data(node), node.outputs[0]
    if sizes(before)[:1] != (0,) or sizes(after)[:1] != (0,):
        raise InexpressibleError("it moves the batch axis")
    to.add(
        name_of(node), "Reshape", [name_of(before)], to.tops(node), sizes_block("reshape_param", "shape", sizes(after))
    )


def transpose(to: Emitter, node: ir.Node) -> None:
    """Transpose → Permute, a layer of the SSD fork that many others took over."""
    rank = len(sizes(to.data(node)))
    order = attribute(node, "perm", list(reversed(range(rank))))
    if order[0] != 0:
        raise InexpressibleError("it moves the batch axis")
    to.note("Permute layers were written, which the SSD fork of Caffe and those after it have")
    to.layer(node, "Permute", block("permute_param", {"order": order}))


WRITERS: dict[str, Emit] = {
    "Concat": concat,
    "Split": split,
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": reshape,
    "Unsqueeze": reshape,
    "Transpose": transpose,
}
