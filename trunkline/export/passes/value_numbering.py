"""Compute every value once: nodes with equal operator, attributes and inputs become one.

This is value numbering by hash-consing (Briggs, Cooper & Simpson 1997), in one walk in topological order. On
weights that are deduplicated by content it finds all reuse there is between task columns, whatever its form.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import onnx
import onnx_ir as ir

from trunkline.graph.graph import OPSET
from trunkline.graph.passes.editor import add_tasks, redirect, take_over

Key = tuple[str, str, tuple[bytes, ...], tuple[int, ...], int]

_DRAWS = frozenset({"Bernoulli", "Dropout", "Multinomial"})


@dataclass(frozen=True, slots=True)
class NumberValues:
    """Merges equal nodes. Weights must be deduplicated first: they are compared by identity, not by content.

    The first node keeps its names and serves the tasks of all. Graph outputs keep their names: an output whose
    value is computed elsewhere gives that value its name, or reads it through an Identity if it has one already.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Merge equal nodes of ``graph``, and return how many went."""
        seen: dict[Key, ir.Node] = {}
        merged = 0
        for node in list(graph):
            if node.op_type in _DRAWS or node.op_type.startswith("Random") or _is_output_copy(node):
                continue
            first = seen.setdefault(_key(node), node)
            if first is not node:
                _merge(graph, first, node)
                merged += 1
        return merged


def _is_output_copy(node: ir.Node) -> bool:
    """An Identity that names an output is there because it must be."""
    return node.op_type == "Identity" and node.outputs[0].is_graph_output()


def _key(node: ir.Node) -> Key:
    # Values live as long as the graph does, so their ids name them.
    inputs = tuple(0 if value is None else id(value) for value in node.inputs)
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    return node.domain, node.op_type, attributes_of(node), inputs, len(node.outputs)


def attributes_of(node: ir.Node) -> tuple[bytes, ...]:
    """Return the attributes that differ from the operator's defaults, in one order."""
    defaults = _defaults(node.op_type, node.domain)
    own = {name: _bytes(ir.serde.serialize_attribute(value)) for name, value in node.attributes.items()}
    return tuple(text for name, text in sorted(own.items()) if defaults.get(name) != text)


@cache
def _defaults(op: str, domain: str) -> dict[str, bytes]:
    try:
        schema = onnx.defs.get_schema(op, OPSET, domain)
    except onnx.defs.SchemaError:
        return {}
    found = {name: attribute.default_value for name, attribute in schema.attributes.items()}
    return {name: _bytes(value) for name, value in found.items() if value.type}


def _bytes(attribute: onnx.AttributeProto) -> bytes:
    bare = onnx.AttributeProto()
    bare.CopyFrom(attribute)
    bare.ClearField("doc_string")
    text: bytes = bare.SerializeToString(deterministic=True)
    return text


def _merge(graph: ir.Graph, first: ir.Node, node: ir.Node) -> None:
    add_tasks(first, node)
    for kept, value in zip(first.outputs, node.outputs, strict=True):
        if not value.is_graph_output():
            redirect(value, kept)
        elif not kept.is_graph_output():
            take_over(graph, value, kept)
        else:
            redirect(value, kept)
            _copy_to_output(graph, node, kept, value)
    graph.remove(node, safe=True)


def _copy_to_output(graph: ir.Graph, node: ir.Node, kept: ir.Value, value: ir.Value) -> None:
    copy = ir.node("Identity", [kept], name=node.name, metadata_props=dict(node.metadata_props))
    graph.insert_after(node, copy)
    take_over(graph, value, copy.outputs[0])
