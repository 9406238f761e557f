"""Remove nodes that do nothing at inference: Dropout and Identity.

Cases:

1. Nobody outside reads the result: its readers read the input instead.
2. The result is a graph output and the input can carry its name: the input takes the name.
3. The result is a graph output and the input cannot (it is the image, a weight, or an output itself): an Identity
   stays, because two outputs cannot be one value.
"""

from __future__ import annotations

import onnx_ir as ir

from trunkline.export.passes.rewrite import redirect, remove, take_over
from trunkline.graph.graph import Graph, array_of


def drop_noops(graph: Graph) -> int:
    """Remove Dropout and Identity in place and return how many nodes went."""
    return sum(_drop(graph, node) for node in graph.nodes if _is_noop(node))


def _is_noop(node: ir.Node) -> bool:
    if node.op_type == "Identity":
        return True
    if node.op_type != "Dropout" or any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
        return False
    training = node.inputs[2] if len(node.inputs) > 2 else None
    return training is None or (training.is_initializer() and not bool(array_of(training)))


def _drop(graph: Graph, node: ir.Node) -> bool:
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    if not result.is_graph_output():
        redirect(result, source)
    elif source.producer() is not None and not source.is_graph_output():
        take_over(graph, result, source)
    else:
        return _keep_as_identity(graph, node, source)
    remove(graph, node)
    return True


def _keep_as_identity(graph: Graph, node: ir.Node, source: ir.Value) -> bool:
    result = node.outputs[0]
    redirect(result, source)
    if node.op_type != "Identity":
        copy = ir.node("Identity", [source], name=node.name, metadata_props=dict(node.metadata_props))
        graph.model.graph.insert_after(node, copy)
        take_over(graph, result, copy.outputs[0])
        remove(graph, node)
    return False
