"""Parts of a network as small models of their own, which a runtime can be timed on."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.computed_weights import computation_of
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.sharing.skip import Skip, emit_skip
from trunkline.sharing.units import Unit


def part_of(graph: Graph, nodes: Collection[str], name: str) -> Graph:
    """Return some connected nodes of ``graph`` as a model, with an input for each value that they read from outside.

    It is in no canonical form: its inputs may have any rank, and there may be several. What computes the weights of
    these nodes comes with them; a runtime does that once, when it loads the model.

    Args:
        graph: A network; it is not changed.
        nodes: Names of its nodes; the last one's result is the output.
        name: The model's name.
    """
    builder = GraphBuilder(name)
    values: dict[ir.Value, ir.Value] = {}
    wanted: set[ir.Node] = set()
    for node in graph.nodes:
        if name_of(node) in nodes:
            wanted |= {node, *computation_of(node)}
    # In the Graph's order, so that every value is there before a node reads it.
    for node in graph.nodes:
        if node in wanted:
            inputs = [None if value is None else _input(builder, value, values) for value in node.inputs]
            attributes = {key: item.value for key, item in node.attributes.items()}
            outputs = [name_of(value) for value in node.outputs]
            builder.node(node.op_type, inputs, name=name_of(node), attributes=attributes, outputs=outputs)
            values.update(zip(node.outputs, builder.last.outputs, strict=True))
    return builder.finish([builder.last.outputs[0]])


def skip_of(graph: Graph, unit: Unit, skip: Skip, name: str) -> Graph:
    """Return what runs where a task skips ``unit``, as a model; the skip is not the identity."""
    builder = GraphBuilder(name)
    source = graph.node(unit.name).inputs[0]
    assert source is not None
    x = builder.input(name_of(source), shape_of(source))
    weight = builder.weight("projection", skip.weight_shape, Filler("xavier")) if skip.weight_shape else None
    return builder.finish([emit_skip(builder, skip, x, weight, name="skip")])


def nothing() -> Graph:
    """Return a model that does nothing: what a run costs besides its work."""
    builder = GraphBuilder("nothing")
    return builder.finish([builder.node("Identity", [builder.input("x", (None, 1))], name="y")])


def _input(builder: GraphBuilder, value: ir.Value, known: dict[ir.Value, ir.Value]) -> ir.Value:
    if value not in known:
        # A weight is copied with its marks: its role, and a filler that it is still to be drawn by.
        if value.const_value is not None:
            known[value] = builder.tensor(name_of(value), value.const_value)
            known[value].metadata_props.update(value.metadata_props)
        else:
            known[value] = builder.input(name_of(value), shape_of(value))
    return known[value]
