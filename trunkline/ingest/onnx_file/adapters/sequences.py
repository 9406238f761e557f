"""SplitToSequence and SequenceAt as one Split: torch's exporter writes ``chunk`` and ``split`` by such lists."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.graph.passes.editor import Editor, set_input, static
from trunkline.ingest.onnx_file.adapters.registry import before, unsupported_form

_ANY_OPSET = 1_000


@before(_ANY_OPSET, "SplitToSequence")
def split_to_sequence(node: ir.Node, editor: Editor) -> None:
    """Write SplitToSequence and the SequenceAt that read it as a Split and copies of its outputs."""
    data, pieces = node.inputs[0], node.outputs[0]
    readers = [reader for reader, _ in pieces.uses()]
    places = [static(reader, 1) if reader.op_type == "SequenceAt" else None for reader in readers]
    if data is None or pieces.is_graph_output() or any(place is None for place in places):
        raise unsupported_form(node, "a list that is not taken apart at fixed places")
    sizes = _piece_sizes(node, data)
    node.op_type = "Split"
    node.attributes.pop("keepdims", None)
    node.resize_outputs(len(sizes))
    pieces.type = None
    for index, value in enumerate(node.outputs[1:], start=1):
        value.name = editor.take_name(f"{name_of(pieces)}.{index}")
    set_input(node, 1, editor.constant(f"{name_of(node)}.sizes", sizes, np.int64))
    for reader, place in zip(readers, places, strict=True):
        assert place is not None
        _take(reader, node, int(place.ravel()[0]))


def _piece_sizes(node: ir.Node, data: ir.Value) -> list[int]:
    rank = len(shape_of(data))
    whole = shape_of(data)[attribute(node, "axis", 0) % rank]
    given = static(node, 1)
    # Without sizes ONNX makes pieces of one place, and may drop the axis.
    if given is None or whole is None:
        raise unsupported_form(node, "a number of pieces that is not fixed, or pieces without the axis")
    if given.ndim:  # a list of sizes; a number without axes is the size of all pieces but the last
        return [int(size) for size in given]
    size = int(given)
    if size < 1:
        raise unsupported_form(node, f"pieces of size {size}")
    return [min(size, whole - start) for start in range(0, whole, size)]


def _take(reader: ir.Node, split: ir.Node, place: int) -> None:
    if not -len(split.outputs) <= place < len(split.outputs):
        raise unsupported_form(reader, f"place {place} of a list of {len(split.outputs)}")
    reader.op_type = "Identity"
    reader.replace_input_with(0, split.outputs[place])
    reader.replace_input_with(1, None)
    reader.resize_inputs(1)
