"""Keep a Pad apart from the pooling window that reads it: onnxruntime would merge the two, and not rightly.

Its PadFusion makes ``Pad(0) -> MaxPool`` or ``AveragePool`` one pool with as much padding of its own:

1. MaxPool's padding is minus infinity, not 0, so a map with negative numbers gives other results, without a word.
2. A pool whose padding is not smaller than its window is refused when the file is loaded: Shake-Shake's shortcut, a
   padded average over 1x1 pixels with stride 2, loads in no session with graph optimisation.

A Pad that names its axes (from opset 18 on) means the same, and is left alone. In front of a convolution the merger is
exact and saves a node, so these are left to it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.export.passes.rewrite import fresh, value_names
from trunkline.graph.graph import Graph, array_of, attribute, name_of

_POOLS = frozenset({"AveragePool", "MaxPool"})


def name_padded_axes(graph: Graph) -> int:
    """Let every Pad before a pool name its axes, in place, and return how many there were."""
    found = [node for node in graph.nodes if node.op_type == "Pad" and _is_merged(node)]
    taken = value_names(graph) if found else set()
    for node in found:
        _name_axes(graph, node, taken)
    return len(found)


def _is_merged(node: ir.Node) -> bool:
    """Whether onnxruntime may merge this Pad: of some size, by a constant, without named axes, before a pool."""
    pads = node.inputs[1]
    if len(node.inputs) > 3 or pads is None or not pads.is_initializer() or not array_of(pads).any():
        return False
    by_constant = attribute(node, "mode", "constant") == "constant"
    return by_constant and any(reader.op_type in _POOLS for reader, _ in node.outputs[0].uses())


def _name_axes(graph: Graph, node: ir.Node, taken: set[str]) -> None:
    stored = node.inputs[1]
    assert stored is not None
    begins, ends = array_of(stored).reshape(2, -1)
    axes = np.flatnonzero(np.logical_or(begins, ends))
    inputs = [*node.inputs[:3], *[None] * (3 - len(node.inputs))]
    inputs[1] = _stored(graph, f"{name_of(node)}.pads", np.concatenate([begins[axes], ends[axes]]), taken)
    inputs.append(_stored(graph, f"{name_of(node)}.axes", axes, taken))
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)


def _stored(graph: Graph, name: str, content: np.ndarray[tuple[int], np.dtype[np.int64]], taken: set[str]) -> ir.Value:
    name = fresh(name, taken)
    tensor = ir.Tensor(content.astype(np.int64), name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.model.graph.register_initializer(value)
    return value
