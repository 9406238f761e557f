"""Nodes side by side: one node for several equal ones, and a Split that gives their results back.

Both passes of horizontal fusion are made of this. Only what belongs to one part and one unit of a multi-task model is
put together, so that its work still counts where it did; a node that stands for several serves the tasks of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from trunkline.export.passes.value_numbering import attributes_of
from trunkline.graph.graph import (
    AXES_KEY,
    FUSED_KEY,
    PART_KEY,
    ROLE_KEY,
    TASKS_KEY,
    UNIT_KEY,
    Attribute,
    array_of,
    make_attribute,
    name_of,
    shape_of,
)
from trunkline.graph.passes.editor import Editor, input_at, take_over

CHANNELS = 1
"""The axis on which maps lie side by side."""

Key = tuple[object, ...]


def conv_key(conv: ir.Node) -> Key | None:
    """Return what must be equal for Convs to be one; ``None`` where a weight or bias is not stored.

    That is all but the number of filters, the weights themselves and whether there is a bias.
    """
    weight, bias = conv.inputs[1], input_at(conv, 2)
    if weight is None or not weight.is_initializer() or (bias is not None and not bias.is_initializer()):
        return None
    marks = [_mark(value, key) for value in (weight, bias) for key in (ROLE_KEY, AXES_KEY)]
    return (conv.op_type, attributes_of(conv), shape_of(weight)[1:], weight.dtype, *marks, *owner_of(conv))


def _mark(value: ir.Value | None, key: str) -> str | None:
    return None if value is None else value.metadata_props.get(key)


def owner_of(node: ir.Node) -> Key:
    """Return the part and the unit that a node belongs to."""
    return node.metadata_props.get(PART_KEY), node.metadata_props.get(UNIT_KEY)


class SideBySide:
    """Puts nodes into one graph that do at once what several equal nodes do.

    Every node is put in front of the first of those; where that is too early, the caller sorts the graph.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.editor = Editor(graph)

    def conv(self, convs: Sequence[ir.Node], data: ir.Value, group: int) -> ir.Value:
        """Return what one Conv with the filters of ``convs``, in ``group`` groups, makes of ``data``."""
        weights = [weight for conv in convs if (weight := conv.inputs[1]) is not None]
        inputs: list[ir.Value | None] = [data, self._joined(weights, [array_of(weight) for weight in weights])]
        biases = [input_at(conv, 2) for conv in convs]
        present = [bias for bias in biases if bias is not None]
        if present:
            contents = [_bias(bias, weight) for bias, weight in zip(biases, weights, strict=True)]
            inputs.append(self._joined(present, contents))
        return self._add(convs, convs[0].op_type, inputs, {"group": group})

    def same(self, nodes: Sequence[ir.Node], inputs: Sequence[ir.Value | None]) -> ir.Value:
        """Return what one node like each of ``nodes`` makes of ``inputs``."""
        return self._add(nodes, nodes[0].op_type, inputs, {})

    def concat(self, nodes: Sequence[ir.Node], values: Sequence[ir.Value]) -> ir.Value:
        """Return ``values``, which are of one type and lie in front of ``nodes``, side by side."""
        made = self._made(nodes, "Concat", values, [make_attribute("axis", CHANNELS)], 1)
        return _as_wide(made.outputs[0], values)

    def split(self, nodes: Sequence[ir.Node], whole: ir.Value) -> None:
        """Cut ``whole`` into what ``nodes`` gave, under their names, and remove these."""
        results = [node.outputs[0] for node in nodes]
        sizes = [shape_of(value)[CHANNELS] for value in results]
        stored = self.editor.constant(f"{name_of(nodes[0])}.sizes", sizes, np.int64)
        made = self._made(nodes, "Split", [whole, stored], [make_attribute("axis", CHANNELS)], len(nodes))
        for node, old, new in zip(nodes, results, made.outputs, strict=True):
            take_over(self.graph, old, new)
            self.graph.remove(node, safe=True)

    def _add(
        self, nodes: Sequence[ir.Node], op: str, inputs: Sequence[ir.Value | None], changed: dict[str, Attribute]
    ) -> ir.Value:
        """Add a node with the attributes of the first, but for what is ``changed``."""
        attributes = {**nodes[0].attributes, **{key: make_attribute(key, value) for key, value in changed.items()}}
        made = self._made(nodes, op, inputs, list(attributes.values()), 1)
        made.metadata_props[FUSED_KEY] = str(len(nodes))
        return _as_wide(made.outputs[0], [node.outputs[0] for node in nodes])

    def _made(
        self,
        nodes: Sequence[ir.Node],
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Sequence[ir.Attr],
        outputs: int,
    ) -> ir.Node:
        name = self.editor.take_name(f"{name_of(nodes[0])}.{'fused' if op == nodes[0].op_type else op.lower()}")
        made = ir.Node("", op, inputs, attributes, num_outputs=outputs, name=name)
        for index, value in enumerate(made.outputs):
            value.name = name if outputs == 1 else self.editor.take_name(f"{name}.{index}")
        made.metadata_props.update(_marks([node.metadata_props for node in nodes]))
        self.graph.insert_before(nodes[0], made)
        return made

    def _joined(self, values: Sequence[ir.Value], contents: Sequence[np.ndarray]) -> ir.Value:
        """Store ``contents`` one after another; the tensors themselves stay as they are, for others that read them."""
        name = self.editor.take_name(f"{name_of(values[0])}.fused")
        made = self.editor.store(name, ir.Tensor(np.concatenate(contents)))
        made.metadata_props.update(_marks([value.metadata_props for value in values]))
        return made


def _bias(bias: ir.Value | None, weight: ir.Value) -> np.ndarray:
    """Return a bias, or zeros where there is none."""
    if bias is not None:
        return array_of(bias)
    filters = array_of(weight)
    return np.zeros(len(filters), filters.dtype)


def _as_wide(made: ir.Value, values: Sequence[ir.Value]) -> ir.Value:
    """Note the type and shape of ``values`` side by side on ``made``."""
    sizes = list(values[0].shape or ())
    sizes[CHANNELS] = sum(shape_of(value)[CHANNELS] or 0 for value in values)
    made.shape, made.type = ir.Shape(sizes), values[0].type
    return made


def _marks(each: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the marks that all have in common, and the tasks of all in the order of first mention."""
    first = each[0]
    common = {key: text for key, text in first.items() if all(marks.get(key) == text for marks in each)}
    tasks = dict.fromkeys(task for marks in each for task in marks.get(TASKS_KEY, "").split(",") if task)
    return {**common, TASKS_KEY: ",".join(tasks)} if tasks else common
