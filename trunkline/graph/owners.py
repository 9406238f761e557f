"""Who owns the nodes of a multi-task model: the backbone, or the head of a task.

Lowering records it on every node, and the written file keeps it. It is true of that model only. In a network that is
cut out of it, or put together with it, the records mean nothing, and are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from trunkline.graph.graph import (
    BACKBONE,
    HEAD,
    INSTANCE_KEY,
    PART_KEY,
    SKIP,
    TASKS_KEY,
    UNIT_KEY,
    Graph,
    data_inputs_of,
    name_of,
)

_ON_NODES = (PART_KEY, UNIT_KEY, INSTANCE_KEY, TASKS_KEY)


def owners_of(model: ir.Model) -> dict[str, str]:
    """Return the metadata that marks a written model whose nodes have owners; empty where they have none."""
    return {key: text for key, text in model.metadata_props.items() if key == TASKS_KEY}


def settle_owners(model: ir.Model, metadata: Mapping[str, str]) -> None:
    """Keep the owners that nodes record if ``model`` is the one they were recorded for; drop them otherwise.

    Args:
        model: A model that was read, or cut.
        metadata: What it, or the model it was cut out of, came with.
    """
    tasks = metadata.get(TASKS_KEY, "").split(",")
    # A multi-task model gives one output a task, under its name. A file cut elsewhere does not.
    if TASKS_KEY in metadata and all(value.name in tasks for value in model.graph.outputs):
        model.metadata_props[TASKS_KEY] = metadata[TASKS_KEY]
        return
    model.metadata_props.pop(TASKS_KEY, None)
    for node in model.graph:
        for key in _ON_NODES:
            node.metadata_props.pop(key, None)


def nodes_of_heads(graph: Graph) -> set[str]:
    """Return the names of the nodes that belong to a task's head."""
    return {name_of(node) for node in graph.nodes if node.metadata_props.get(PART_KEY) == HEAD}


def maps_of_heads(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return, by task of a multi-task model, the values that its head reads of the backbone, in the head's order.

    A value is there as often as it is read: heads of one kind then give rows of one length, whatever the plans are.
    Where a plan skips a block, two maps may be one value. A task without a head gives such a value itself.
    """
    found: dict[str, tuple[str, ...]] = {}
    for output in graph.outputs:
        task = name_of(output)
        own = [node for node in graph.nodes if _is_of_head(node, task)]
        made = {name_of(value) for node in own for value in node.outputs}
        read = [name_of(value) for node in own for value in data_inputs_of(node)]
        found[task] = tuple(name for name in read if name not in made) if own else (task,)
    return found


def _is_of_head(node: ir.Node, task: str) -> bool:
    return node.metadata_props.get(PART_KEY) == HEAD and node.metadata_props.get(TASKS_KEY) == task


def parts_of_weights(graph: Graph) -> dict[str, str]:
    """Return, by stored tensor of a multi-task model, the part that it belongs to; a skip's count as the backbone's."""
    parts = {name: value.metadata_props.get(PART_KEY, BACKBONE) for name, value in graph.initializers.items()}
    for name, part in parts.items():
        if part == SKIP:  # a skip replaces a unit of the backbone
            parts[name] = BACKBONE
    return parts
