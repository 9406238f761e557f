"""Compute what depends on nothing but stored tensors: shapes, sizes, and weights that are reshaped on the way.

A node is computed only after the size of its result is known. What is computed from weights that train stays a node of
the Graph, so that they go on training (see :mod:`trunkline.graph.computed_weights`); it is computed here where a
setting needs it, or it would not train well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import onnx_ir as ir

from trunkline.graph.graph import (
    AXES_KEY,
    CONSTANT,
    PARAMETER,
    ROLE_KEY,
    attribute,
    inputs_of,
    is_weight,
    name_of,
)
from trunkline.graph.passes.editor import Editor
from trunkline.graph.roles import role_at
from trunkline.ingest.onnx_file.evaluate import SHAPE_READERS, Array, can_evaluate, evaluate
from trunkline.ingest.onnx_file.passes.lift_constants import constant_tensor, replace_by_tensors
from trunkline.ingest.onnx_file.passes.purposes import NOTHING, VIEWS, Purposes, must_know
from trunkline.ingest.onnx_file.proto.operators import EVALUATED, SUPPORTED
from trunkline.limits import Budget

_SLOW_ELEMENTS = 2**18
"""What operators that are computed number by number may read and give in one file; in the worst case some seconds."""

Key = tuple[object, ...]


@dataclass(slots=True)
class ConstantFolder:
    """Folds the nodes of one graph, one at a time, in order.

    A weight stays one initializer:

    1. Equal foldings of it become one.
    2. A weight that is folded for its only reader keeps its name.
    3. A view of a weight that others read too stays a node.
    4. What is computed from weights that train stays nodes too, unless it must be known or would not train well.
    5. What comes of sizes and formulas alone, as a detector's grid of anchors does, is no weight.

    Attributes:
        editor: The editor of the graph.
        budget: What may still be stored.
        purposes: What the values of the graph are for, where that matters.
        merged: The names of the weights that others were merged into; it is filled in.
    """

    editor: Editor
    budget: Budget
    purposes: Purposes = NOTHING
    merged: list[str] = field(default_factory=list)
    _done: dict[Key, list[ir.Value]] = field(default_factory=dict)
    _seen: list[ir.Value] = field(default_factory=list)
    _slow: int = 0

    def fold(self, node: ir.Node) -> bool:
        """Replace ``node``, whose output shapes are known, by initializers if it can be.

        Raises:
            InvalidModel: It cannot be computed, or its result is larger than the budget allows.
        """
        if not can_evaluate(node):
            return False
        if self._stays(node):
            if any(value in self.purposes.known for value in node.outputs):
                self._know(node)
            return False
        key = _key(node)
        source = node.inputs[0] if node.op_type in VIEWS else None
        if self._is_done(key):  # rule 1
            _reuse(self.editor, node, self._done[key])
        else:
            tensors = self._tensors(node)
            if tensors is None:
                return False
            self._done[key] = self._store(node, tensors)
        self._keep_name(source, self._done[key][0])  # rule 2
        return True

    def _is_done(self, key: Key) -> bool:
        """Whether what such a node gives is stored still: a view of it may have taken its name, and its place."""
        stored = self.editor.graph.initializers
        return key in self._done and all(stored.get(name_of(value)) is value for value in self._done[key])

    def _stays(self, node: ir.Node) -> bool:
        """Whether weights that train are behind ``node``, so that they must stay what they are."""
        if not _reads_trained(node) or node.op_type not in SUPPORTED or not _gives_floats(node):
            return False
        is_known = any(value in self.purposes.known for value in node.outputs)
        is_trained = any(value in self.purposes.trained for value in node.outputs)
        is_merged = any(value in self.purposes.merged for value in node.outputs)
        if is_merged or (is_known and not is_trained):
            return False
        if any(value.is_graph_output() for value in node.outputs):
            return False  # folding refuses it then: an output must depend on the image
        if node.op_type not in VIEWS:  # rule 4
            return True
        return _splits_a_weight(node) or node.outputs[0] in self.purposes.stepped  # rule 3

    def _know(self, node: ir.Node) -> None:
        """Let what a node gives be known, though it stays: to readers that must know it, it is a constant."""
        tensors = self._tensors(node)
        for value, tensor in zip(node.outputs, tensors or (), strict=False):
            # Set for the length of the walk, so that nodes behind it can be evaluated too.
            value.const_value = tensor
            self._seen.append(value)
            knowing = [(reader, index) for reader, index in value.uses() if must_know(reader, index)]
            if knowing:
                copy = self.editor.constant(f"{name_of(value)}.known", tensor.numpy())
                for reader, index in knowing:
                    reader.replace_input_with(index, copy)

    def forget(self) -> None:
        """Let the values of nodes that stay be computed ones again."""
        for value in self._seen:
            value.const_value = None

    def _is_needed(self, node: ir.Node) -> bool:
        return any(value in self.purposes.known or value in self.purposes.merged for value in node.outputs)

    def _tensors(self, node: ir.Node) -> list[ir.TensorProtocol] | None:
        constant = constant_tensor(node, self.budget)
        if constant is not None:
            return [constant]
        # Shape and Size give a few numbers, however many they look at.
        results = [] if node.op_type in SHAPE_READERS else [_stored_sizes(value) for value in node.outputs]
        if any(math.prod(sizes) > self.budget.limits.folded_elements for sizes in results):
            return None
        if not self._is_quick(node, results):
            return None
        for value, sizes in zip(node.outputs, results, strict=False):
            self.budget.charge(name_of(value), sizes)
        computed = zip(node.outputs, evaluate(node), strict=True)
        return [_tensor(array, value.dtype or ir.DataType.FLOAT) for value, array in computed]

    def _is_quick(self, node: ir.Node, results: list[tuple[int, ...]]) -> bool:
        """Whether the result can be computed quickly; one that is not needed now may be computed with the Graph."""
        if node.op_type in EVALUATED:
            return True
        if _gives_floats(node) and not self._is_needed(node):
            return False
        reads = [_stored_sizes(value) for value in inputs_of(node)]
        self._slow += sum(math.prod(sizes) for sizes in (*reads, *results))
        return self._slow <= _SLOW_ELEMENTS

    def _store(self, node: ir.Node, tensors: list[ir.TensorProtocol]) -> list[ir.Value]:
        # Before the node is replaced: afterwards it reads nothing.
        axes = _axes(node)
        is_formula = not _reads_trained(node) and node.outputs[0] not in self.purposes.widened  # rule 5
        is_merged = any(value in self.purposes.merged for value in node.outputs)
        stored = replace_by_tensors(self.editor, node, tensors)
        for value in stored:
            if is_formula and is_weight(value):
                value.metadata_props[ROLE_KEY] = CONSTANT
            if axes:
                value.metadata_props[AXES_KEY] = axes
            if is_merged and not is_formula:
                self.merged.append(name_of(value))
        return stored

    def _keep_name(self, source: ir.Value | None, folded: ir.Value) -> None:
        if source is None or not is_weight(source) or source.uses():
            return
        name = name_of(source)
        del self.editor.graph.initializers[name]
        folded.name = name


def _reads_trained(node: ir.Node) -> bool:
    return any(_trains(node, index) for index, value in enumerate(node.inputs) if value is not None)


def _trains(node: ir.Node, index: int) -> bool:
    """Whether an input is a weight that trains; without a mark, a number without axes is part of a formula."""
    value = node.inputs[index]
    if value is None:
        return False
    if not value.is_initializer():
        # Computed, and known for the length of the walk: it stayed because a weight is behind it.
        return value.dtype is not None and value.dtype.is_floating_point()
    if not is_weight(value) or role_at(node, index) != "parameter":
        return False
    return value.metadata_props.get(ROLE_KEY) == PARAMETER or bool(value.shape)


def _gives_floats(node: ir.Node) -> bool:
    return all(value.dtype is not None and value.dtype.is_floating_point() for value in node.outputs)


def _splits_a_weight(node: ir.Node) -> bool:
    """Whether a weight that ``node`` is a view of is read otherwise too."""
    source, key = node.inputs[0], _key(node)
    assert source is not None
    return any(reader.op_type != node.op_type or _key(reader) != key for reader in source.consumers())


def _axes(node: ir.Node) -> str:
    """Return which of its author's axes each axis of a transposed weight is; empty where ``node`` turns none."""
    source = node.inputs[0] if node.inputs else None
    if node.op_type != "Transpose" or source is None or not is_weight(source):
        return ""
    before = source.metadata_props.get(AXES_KEY)
    old = before.split(",") if before else [str(axis) for axis in range(len(source.shape or ()))]
    turned = [old[axis] for axis in attribute(node, "perm", list(range(len(old)))[::-1])]
    if turned == sorted(turned, key=int):  # turned back to the author's order
        return ""
    return ",".join(turned)


def _stored_sizes(value: ir.Value) -> tuple[int, ...]:
    return () if value.shape is None else tuple(value.shape.numpy())


def _tensor(array: Array, dtype: ir.DataType) -> ir.TensorProtocol:
    return ir.Tensor(array.astype(dtype.numpy(), copy=False), dtype=dtype)


def _key(node: ir.Node) -> Key:
    """Return what is equal for two nodes that give the same."""
    attributes = sorted((name, repr(attribute.value)) for name, attribute in node.attributes.items())
    inputs = [None if value is None else _identity(value) for value in node.inputs]
    return (node.op_type, len(node.outputs), *attributes, *inputs)


def _identity(value: ir.Value) -> object:
    """Return what identifies an input: itself, or the numbers of a small integer tensor."""
    # Exporters store the same axes and sizes again for every node that reads some.
    tensor = value.const_value
    if tensor is not None and not is_weight(value) and tensor.size <= 16:
        return (int(tensor.dtype), tuple(tensor.shape.numpy()), tuple(tensor.numpy().ravel().tolist()))
    return value


def _reuse(editor: Editor, node: ir.Node, values: list[ir.Value]) -> None:
    for copy, value in zip(node.outputs, values, strict=True):
        copy.replace_all_uses_with(value, replace_graph_outputs=True)
    editor.graph.remove(node, safe=True)
