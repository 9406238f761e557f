"""The edits that passes and opset adapters are made of: store, add, redirect readers, take a value's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import CONSTANT, ROLE_KEY, TASKS_KEY, Attribute, is_weight, make_attribute, name_of
from trunkline.graph.unique_names import UniqueNames


class Editor:
    """Adds constants and nodes to one graph.

    Attributes:
        added: The nodes put in so far; they are written at the canonical opset.
        nodes: The names of all nodes.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.added: set[ir.Node] = set()
        self.nodes = {node.name for node in graph if node.name}
        self._names = UniqueNames(value_names(graph) | self.nodes)

    def take_name(self, name: str) -> str:
        """Return ``name``, or the first of ``name_2``, ``name_3``… that is free, and take it."""
        return self._names.take(name)

    def constant(self, name: str, content: Any, dtype: type[np.generic] | None = None) -> ir.Value:
        """Store ``content`` as part of a formula or as a setting, called ``name`` or the next free name."""
        value = self.store(self.take_name(name), ir.Tensor(np.asarray(content, dtype=dtype)))
        if is_weight(value):
            value.metadata_props[ROLE_KEY] = CONSTANT
        return value

    def store(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """Store a tensor as the initializer ``name``, which must be free."""
        return store(self.graph, name, tensor)

    def copy(self, value: ir.Value, name: str) -> ir.Value:
        """Store what the initializer ``value`` holds once more, called ``name`` or the next free name."""
        tensor = value.const_value
        assert tensor is not None
        # A tensor knows its own name, so the copy is another object; lazy, it shares the numbers with the first.
        made = self.store(
            self.take_name(name), ir.LazyTensor(lambda: tensor, tensor.dtype, ir.Shape(tensor.shape.numpy()))
        )
        made.metadata_props.update(value.metadata_props)
        return made

    def before(
        self, node: ir.Node, op: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Attribute]
    ) -> ir.Node:
        """Put a node in front of ``node``, named after it."""
        made = self._made(node, op, inputs, attributes)
        self.graph.insert_before(node, made)
        return made

    def after(self, node: ir.Node, op: str, inputs: Sequence[ir.Value], attributes: Mapping[str, Attribute]) -> ir.Node:
        """Put a node behind ``node``, named after it."""
        made = self._made(node, op, inputs, attributes)
        self.graph.insert_after(node, made)
        return made

    def _made(
        self, near: ir.Node, op: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Attribute]
    ) -> ir.Node:
        name = self.take_name(f"{name_of(near)}.{op.lower()}")
        settings = [make_attribute(key, content) for key, content in attributes.items()]
        made = ir.Node("", op, list(inputs), settings, name=name)
        made.outputs[0].name = name
        # It came from the same line of the file, and serves the same tasks.
        made.metadata_props.update(near.metadata_props)
        self.added.add(made)
        return made


def store(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    """Store a tensor as the initializer ``name``, which must be free."""
    tensor.name = name
    shape, kind = ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value


def redirect(old: ir.Value, new: ir.Value) -> None:
    """Make every node that reads ``old`` read ``new``; graph outputs are left alone."""
    for node, index in old.uses():
        node.replace_input_with(index, new)


def take_over(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let ``new`` become what ``old`` was: its name, its readers and its places among the outputs.

    What is known of the shape and type of ``new`` stays. The producer of ``old`` must be removed next.
    """
    redirect(old, new)
    for index, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[index] = new
    # Two values must not have one name, even until the old one's producer is removed.
    new.name, old.name = old.name, f"{old.name} (removed)"
    new.shape = old.shape if new.shape is None else new.shape
    new.type = old.type if new.type is None else new.type


def add_tasks(node: ir.Node, other: ir.Node) -> None:
    """Let ``node`` serve the tasks of ``other`` too; the order of first mention is kept."""
    both = [node.metadata_props.get(TASKS_KEY, ""), other.metadata_props.get(TASKS_KEY, "")]
    tasks = dict.fromkeys(task for text in both for task in text.split(",") if task)
    if tasks:
        node.metadata_props[TASKS_KEY] = ",".join(tasks)


def value_names(graph: ir.Graph) -> set[str]:
    """Return the names of all values: the inputs, weights and node outputs."""
    values = [*graph.inputs, *graph.initializers.values()]
    values += [output for node in graph for output in node.outputs]
    return {value.name for value in values if value.name}


def is_read(value: ir.Value) -> bool:
    """Whether a node or the graph's caller reads the value."""
    return bool(value.uses()) or value.is_graph_output()


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Return input ``index`` of a node, or ``None`` where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def set_input(node: ir.Node, index: int, value: ir.Value | None) -> None:
    """Set input ``index``; inputs between are absent, and absent inputs at the end are cut off."""
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)
    # ONNX lets an absent last input be left out or given as an empty name. Left out, no reader must know both.
    count = len(node.inputs)
    while count and node.inputs[count - 1] is None:
        count -= 1
    node.resize_inputs(count)


def static(node: ir.Node, index: int) -> np.ndarray[Any, Any] | None:
    """Return the content of a stored input; ``None`` where it is absent or computed."""
    value = input_at(node, index)
    return None if value is None or value.const_value is None else value.const_value.numpy()


def pop(node: ir.Node, name: str, default: Any = None) -> Any:
    """Take an attribute off a node and return its plain value."""
    found = node.attributes.pop(name, None)
    return default if found is None else found.value


def put(node: ir.Node, name: str, content: Attribute) -> None:
    """Set an attribute from a plain Python value."""
    node.attributes[name] = make_attribute(name, content)
