"""The few edits every pass is made of: redirect readers, take a value's place, remove a node, find a free name."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.graph.graph import TASKS_KEY, Graph, name_of


def redirect(old: ir.Value, new: ir.Value) -> None:
    """Make every node that reads ``old`` read ``new``; graph outputs are left alone."""
    for node, index in old.uses():
        node.replace_input_with(index, new)


def take_over(graph: Graph, old: ir.Value, new: ir.Value) -> None:
    """Let ``new`` become what ``old`` was: its name, its readers and its places among the outputs.

    The producer of ``old`` must be removed next, or two values would share the name.
    """
    outputs = graph.model.graph.outputs
    redirect(old, new)
    for index, output in enumerate(outputs):
        if output is old:
            outputs[index] = new
    new.name, new.shape, new.type = old.name, old.shape, old.type


def remove(graph: Graph, node: ir.Node) -> None:
    """Remove a node whose outputs nothing reads any more, and stop it from reading its inputs."""
    graph.model.graph.remove(node, safe=True)


def add_tasks(node: ir.Node, other: ir.Node) -> None:
    """Let ``node`` serve the tasks of ``other`` too; the order of first mention is kept."""
    both = [node.metadata_props.get(TASKS_KEY, ""), other.metadata_props.get(TASKS_KEY, "")]
    tasks = dict.fromkeys(task for text in both for task in text.split(",") if task)
    if tasks:
        node.metadata_props[TASKS_KEY] = ",".join(tasks)


def value_names(graph: Graph) -> set[str]:
    """Return the names of all values: the input, weights and node outputs."""
    values = [*graph.model.graph.inputs, *graph.model.graph.initializers.values()]
    values += [output for node in graph.model.graph for output in node.outputs]
    return {name_of(value) for value in values if value.name}


def fresh(name: str, taken: set[str]) -> str:
    """Return ``name``, or the first of ``name_2``, ``name_3``… that is free, and mark it as taken."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def all_stored(node: ir.Node, start: int) -> bool:
    """Whether every input from ``start`` on that is present is an initializer."""
    return all(value.is_initializer() for value in list(node.inputs)[start:] if value is not None)


def is_read(value: ir.Value) -> bool:
    """Whether a node or the graph's caller reads the value."""
    return bool(value.uses()) or value.is_graph_output()
