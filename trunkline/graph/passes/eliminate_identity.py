"""Remove nodes that pass on what they read: Identity, Cast to the type that is there already, a sum of one.

At inference Dropout is one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute
from trunkline.graph.passes.editor import input_at, redirect, take_over


@dataclass(frozen=True, slots=True)
class EliminateIdentity:
    """Lets the readers of each copy read its source.

    1. A value inside the graph: its readers read the source.
    2. A graph output whose source another node computes: the source takes the output's name and place.
    3. A graph output that is the image, a weight, or a copy of another output: both names must exist, so a node stays.

    Cast is recognised only where the type of its input is known.

    Attributes:
        inference: Whether the graph will not be trained again. Then Dropout is an identity too; and a node that stays
            (rule 3) has no readers left inside, so that what reads the copy and what reads the source can be merged.
            Ingest keeps both: a Dropout trains, and its author's readers stay where they were.
    """

    inference: bool = False

    def __call__(self, graph: ir.Graph) -> int:
        """Remove the identities of ``graph``, and return how many nodes went."""
        return sum([self._remove(graph, node) for node in graph])

    def _remove(self, graph: ir.Graph, node: ir.Node) -> bool:
        if not is_identity(node) and not (self.inference and _is_idle_dropout(node)):
            return False
        if eliminate(graph, node):
            return True
        if self.inference:
            _leave_plain(graph, node)
        return False


def is_identity(node: ir.Node) -> bool:
    """Whether ``node`` gives exactly what it reads; also a sum or an extremum of one."""
    if node.op_type == "Cast":
        source = node.inputs[0]
        return source is not None and source.dtype is not None and int(source.dtype) == attribute(node, "to")
    if node.op_type in ("Sum", "Max", "Min"):
        return len(node.inputs) == 1
    return node.op_type == "Identity"


def _is_idle_dropout(node: ir.Node) -> bool:
    """Whether ``node`` is a Dropout that drops nothing at inference, and whose mask nothing reads."""
    if node.op_type != "Dropout" or any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
        return False
    training = input_at(node, 2)
    return training is None or (training.is_initializer() and not bool(array_of(training)))


def eliminate(graph: ir.Graph, node: ir.Node) -> bool:
    """Remove a node whose first output is its first input, and return whether it could be; see the rules above."""
    source, copy = node.inputs[0], node.outputs[0]
    assert source is not None
    if not copy.is_graph_output():  # rule 1
        redirect(copy, source)
    elif source.producer() is not None and not source.is_graph_output():  # rule 2
        take_over(graph, copy, source)
    else:  # rule 3: the source's name is the caller's, a weight's, or another output's
        return False
    graph.remove(node, safe=True)
    return True


def _leave_plain(graph: ir.Graph, node: ir.Node) -> None:
    """Let a node that must stay be an Identity which nothing inside the graph reads."""
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    redirect(result, source)
    if node.op_type == "Identity":
        return
    copy = ir.node("Identity", [source], name=node.name, metadata_props=dict(node.metadata_props))
    graph.insert_after(node, copy)
    take_over(graph, result, copy.outputs[0])
    graph.remove(node, safe=True)
