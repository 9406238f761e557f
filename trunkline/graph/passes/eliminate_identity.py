"""Remove nodes that pass on what they read: Identity, and Cast to the type that is there already."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.graph import attribute


@dataclass(frozen=True, slots=True)
class EliminateIdentity:
    """Wires readers to the source of each copy.

    1. A value inside the graph: its readers read the source. 2. A graph output: the node that writes the source
    writes the output, under the output's name. 3. A graph output that is the image, or that copies another output:
    the node stays, because both names must exist.
    """

    def __call__(self, graph: ir.Graph) -> bool:
        """Remove the identities of ``graph``."""
        changed = [eliminate(graph, node) for node in graph if is_identity(node)]
        return any(changed)


def is_identity(node: ir.Node) -> bool:
    """Whether ``node`` gives exactly what it reads; also a sum or an extremum of one."""
    if node.op_type == "Cast":
        source = node.inputs[0]
        return source is not None and source.dtype is not None and int(source.dtype) == attribute(node, "to")
    if node.op_type in ("Sum", "Max", "Min"):
        return len(node.inputs) == 1
    return node.op_type == "Identity"


def eliminate(graph: ir.Graph, node: ir.Node) -> bool:
    """Remove a node that :func:`is_identity`, and say whether it could be."""
    source, copy = node.inputs[0], node.outputs[0]
    assert source is not None
    if copy.is_graph_output():
        if source.producer() is None or source.is_graph_output():
            return False
        name = copy.name
        copy.name = f"{name} (removed)"
        source.name = name
    copy.replace_all_uses_with(source, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return True
