"""A backbone under other names: what a network is must not depend on what its parts are called."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.plan_check import make_plan


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """Return ``graph`` with some of its nodes, values and weights called otherwise."""
    builder = GraphBuilder(graph.name)
    image = name_of(graph.input)
    values = {image: builder.input(names.get(image, image), shape_of(graph.input))}
    for name, value in graph.initializers.items():
        values[name] = _stored(builder, value, names.get(name, name))
    for node in graph.nodes:
        builder.node(
            node.op_type,
            [None if value is None else values[name_of(value)] for value in node.inputs],
            name=names.get(name_of(node), name_of(node)),
            attributes={key: item.value for key, item in node.attributes.items()},
            outputs=[names.get(name_of(value), name_of(value)) for value in node.outputs],
        )
        values.update((name_of(old), new) for old, new in zip(node.outputs, builder.last.outputs, strict=True))
    return builder.finish([values[name_of(value)] for value in graph.outputs])


def same_plan(plan: SharingPlan, backbone: Graph, names: Mapping[str, str]) -> SharingPlan:
    """Return ``plan`` for a backbone whose units were renamed."""
    rows = {names.get(unit, unit): row for unit, row in plan.units.items()}
    settings = plan.model_dump(include={"granularity", "tie", "batchnorm"})
    return make_plan(backbone, plan.tasks, rows, **settings)


def _stored(builder: GraphBuilder, value: ir.Value, name: str) -> ir.Value:
    filler = Filler.of(value)
    if filler is not None:
        return builder.weight(name, [int(size or 1) for size in shape_of(value)], filler)
    assert value.const_value is not None
    return builder.tensor(name, value.const_value.numpy())
