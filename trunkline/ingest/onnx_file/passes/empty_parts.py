"""Leave out of a Concat what holds no numbers.

A shift by nothing (torch.roll) is written as all and none, joined; a decoder's skip that does not exist as no channels.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of, shape_of
from trunkline.text import shape_text


def may_be_left_out(node: ir.Node) -> bool:
    """Whether nothing but Concat reads what ``node``, a Slice, gives."""
    value = node.outputs[0]
    readers = value.consumers()
    is_joined = bool(readers) and all(reader.op_type == "Concat" for reader in readers)
    return node.op_type == "Slice" and is_joined and not value.is_graph_output()


def leave_out(graph: ir.Graph, node: ir.Node) -> bool:
    """Take ``node``, whose shape is known and which :func:`may_be_left_out`, away if it is empty along the joined axis.

    Returns:
        Whether it is gone.

    Raises:
        InvalidModel: It is empty along another axis, or nothing else is joined.
    """
    value = node.outputs[0]
    shape = shape_of(value)
    if 0 not in shape:
        return False
    readers = value.consumers()
    for reader in readers:
        axis = attribute(reader, "axis", 1)
        is_empty_along = -len(shape) <= axis < len(shape) and shape[axis] == 0
        reads_nothing_else = set(reader.inputs) == {value}
        if not is_empty_along or reads_nothing_else:
            raise InvalidModel(f"{node.op_type}: its output {shape_text(shape)} is empty", place=name_of(node))
    for reader in readers:
        _join(reader, [read for read in reader.inputs if read is not value])
    graph.remove(node, safe=True)
    return True


def join_what_is_there(node: ir.Node) -> None:
    """Let ``node``, if it is a Concat, read only what holds numbers; a constant without any may have other readers."""
    if node.op_type != "Concat" or any(value is None or value.shape is None for value in node.inputs):
        return
    axis = attribute(node, "axis", 1)
    read = [value for value in node.inputs if value is not None]
    along = slice(axis, axis + 1 or None)  # up to the end for axis -1; a slice forgives an axis that is not there
    kept = [value for value in read if shape_of(value)[along] != (0,)]
    if kept and len(kept) < len(read):
        _join(node, kept)


def _join(node: ir.Node, kept: list[ir.Value | None] | list[ir.Value]) -> None:
    for index in range(len(node.inputs)):
        node.replace_input_with(index, kept[index] if index < len(kept) else None)
    node.resize_inputs(len(kept))
