"""Leave out of a Concat what holds no numbers: a shift by nothing (torch.roll) is written as all and none, joined."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.ingest.graph import attribute, name_of, shape_of


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
        if not -len(shape) <= axis < len(shape) or shape[axis] != 0 or set(reader.inputs) == {value}:
            raise InvalidModel(f"{node.op_type}: its output {list(shape)} is empty", place=name_of(node))
    for reader in readers:
        kept = [read for read in reader.inputs if read is not value]
        for index in range(len(reader.inputs)):
            reader.replace_input_with(index, kept[index] if index < len(kept) else None)
        reader.resize_inputs(len(kept))
    graph.remove(node, safe=True)
    return True
