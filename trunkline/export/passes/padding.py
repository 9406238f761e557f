"""Keep a Pad apart from the pooling window that reads it: onnxruntime would merge the two, and not rightly.

Its PadFusion makes ``Pad(0) -> MaxPool`` or ``AveragePool`` one pool with as much padding of its own:

1. MaxPool's padding is minus infinity, not 0, so a map with negative numbers gives other results, without a word.
2. A pool whose padding is not smaller than its window is refused when the file is loaded: Shake-Shake's shortcut, a
   padded average over 1x1 pixels with stride 2, loads in no session with graph optimisation.

A Pad that names its axes (from opset 18 on) means the same, and is left alone. In front of a convolution the merger is
exact and saves a node, so these are left to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute, name_of
from trunkline.graph.passes.editor import store, value_names
from trunkline.graph.unique_names import UniqueNames

Sizes = np.ndarray[tuple[int], np.dtype[np.int64]]

_POOLS = frozenset({"AveragePool", "MaxPool"})


@dataclass(frozen=True, slots=True)
class NamePaddedAxes:
    """Lets every Pad before a pool name its axes, if it has none and pads by a stored amount."""

    def __call__(self, graph: ir.Graph) -> int:
        """Name the padded axes in ``graph``, and return how many Pads there were."""
        found = [node for node in graph if node.op_type == "Pad" and _is_merged(node)]
        taken = UniqueNames(value_names(graph) if found else ())
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


def _name_axes(graph: ir.Graph, node: ir.Node, taken: UniqueNames) -> None:
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


def _stored(graph: ir.Graph, name: str, content: Sizes, taken: UniqueNames) -> ir.Value:
    return store(graph, taken.take(name), ir.Tensor(content.astype(np.int64)))
