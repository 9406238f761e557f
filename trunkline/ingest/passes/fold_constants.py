"""Compute what depends on nothing but stored tensors: shapes, sizes, and weights that are reshaped on the way.

The arithmetic is ONNX's own reference implementation. Only operators of
:data:`trunkline.ingest.onnx_file.operators.EVALUATED` are run, and only after their output's size is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from trunkline.errors import InvalidModel
from trunkline.ingest.graph import (
    AXES_KEY,
    CONSTANT,
    OPSET,
    ROLE_KEY,
    array_of,
    attribute,
    inputs_of,
    is_weight,
    name_of,
)
from trunkline.ingest.limits import Budget
from trunkline.ingest.onnx_file.operators import EVALUATED, SUPPORTED
from trunkline.ingest.passes.edit import Editor
from trunkline.ingest.passes.lift_constants import constant_tensor, replace_by_tensor

_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten"})

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """Folds the nodes of one graph, one at a time, in order.

    A weight stays one initializer: equal foldings of it become one, a weight folded for its only reader keeps
    its name, and a view of a weight that others read too stays a node. What comes of sizes and formulas alone, as a
    detector's grid of anchors does, is no weight.
    """

    editor: Editor
    budget: Budget
    _done: dict[Key, ir.Value] = field(default_factory=dict)

    def fold(self, node: ir.Node) -> bool:
        """Replace ``node``, whose output shapes are known, by an initializer if it can be.

        Raises:
            InvalidModel: It cannot be computed, or its result is larger than the budget allows.
        """
        if not can_fold(node):
            return False
        key = _key(node)
        source = node.inputs[0] if node.op_type in _VIEWS else None
        if key in self._done:
            _reuse(self.editor, node, self._done[key])
            self._keep_name(source, self._done[key])
            return True
        axes = _axes(node)
        if _splits_a_weight(node, key):
            return False
        tensor = self._tensor(node)
        if tensor is None:
            return False
        is_formula = all(not is_weight(value) or _is_constant(value) for value in inputs_of(node))
        self._done[key] = replace_by_tensor(self.editor, node, tensor)
        if is_formula and is_weight(self._done[key]):
            self._done[key].metadata_props[ROLE_KEY] = CONSTANT
        if axes:
            self._done[key].metadata_props[AXES_KEY] = axes
        self._keep_name(source, self._done[key])
        return True

    def _tensor(self, node: ir.Node) -> ir.TensorProtocol | None:
        constant = constant_tensor(node, self.budget)
        if constant is not None:
            return constant
        value = node.outputs[0]
        sizes = () if node.op_type in ("Shape", "Size") or value.shape is None else tuple(value.shape.numpy())
        if math.prod(sizes) > self.budget.limits.folded_elements:
            return None
        self.budget.charge(name_of(value), sizes)
        dtype = value.dtype or ir.DataType.FLOAT
        return ir.Tensor(evaluate(node).astype(dtype.numpy(), copy=False), dtype=dtype)

    def _keep_name(self, source: ir.Value | None, folded: ir.Value) -> None:
        if source is None or not is_weight(source) or source.uses():
            return
        name = name_of(source)
        del self.editor.graph.initializers[name]
        folded.name = name


def _axes(node: ir.Node) -> str:
    """Return which of its author's axes each axis of a transposed weight is; empty where ``node`` turns none."""
    source = node.inputs[0] if node.inputs else None
    if node.op_type != "Transpose" or source is None or not is_weight(source):
        return ""
    before = source.metadata_props.get(AXES_KEY)
    old = before.split(",") if before else [str(axis) for axis in range(len(source.shape or ()))]
    turned = [old[axis] for axis in attribute(node, "perm", list(range(len(old)))[::-1])]
    return "" if turned == sorted(turned, key=int) else ",".join(turned)


def can_fold(node: ir.Node) -> bool:
    """Whether ``node`` can be computed now. Shape needs the shape of what it reads, not its content."""
    if node.op_type not in EVALUATED or len(node.outputs) != 1:
        return False
    if node.op_type in ("Shape", "Size"):
        return all(value.shape is not None and value.shape.is_static() for value in inputs_of(node))
    return all(value.const_value is not None for value in inputs_of(node))


def evaluate(node: ir.Node) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Return what ``node`` computes from its stored inputs.

    Raises:
        InvalidModel: The computation fails, or divides by zero.
    """
    proto = ir.serde.serialize_node(node)
    feeds = {name_of(value): _content(node, value) for value in inputs_of(node)}
    try:
        with np.errstate(divide="raise", invalid="raise", over="ignore"):
            outputs = ReferenceEvaluator(proto, opsets={"": OPSET}).run(None, feeds)
    except (ValueError, IndexError, TypeError, ArithmeticError, RuntimeError, AttributeError) as error:
        text = f"{node.op_type} of constants cannot be computed: {(str(error).splitlines() or [''])[0]}"
        raise InvalidModel(text, place=name_of(node)) from error
    return np.asarray(next(iter(outputs)))


def _content(node: ir.Node, value: ir.Value) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    if node.op_type not in ("Shape", "Size"):
        return array_of(value)
    assert value.shape is not None
    return np.broadcast_to(np.float32(0), value.shape.numpy())


def _key(node: ir.Node) -> Key:
    attributes = sorted((name, repr(attribute.value)) for name, attribute in node.attributes.items())
    inputs = [None if value is None else _identity(value) for value in node.inputs]
    return (node.op_type, *attributes, *inputs)


def _identity(value: ir.Value) -> object:
    """Small integer tensors are told apart by content: exporters write the same axes anew for every node."""
    tensor = value.const_value
    if tensor is not None and not is_weight(value) and tensor.size <= 16:
        return (int(tensor.dtype), tuple(tensor.shape.numpy()), tuple(tensor.numpy().ravel().tolist()))
    return value


def _splits_a_weight(node: ir.Node, key: Key) -> bool:
    source = node.inputs[0]
    if node.op_type not in _VIEWS or node.op_type not in SUPPORTED or source is None or not is_weight(source):
        return False
    if _is_constant(source):
        return False
    readers = source.consumers()
    return any(reader.op_type != node.op_type or _key(reader) != key for reader in readers)


def _is_constant(value: ir.Value) -> bool:
    return value.metadata_props.get(ROLE_KEY) == CONSTANT


def _reuse(editor: Editor, node: ir.Node, value: ir.Value) -> None:
    copy = node.outputs[0]
    copy.replace_all_uses_with(value, replace_graph_outputs=True)
    editor.graph.remove(node, safe=True)
