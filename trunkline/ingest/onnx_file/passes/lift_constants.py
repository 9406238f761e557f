"""Make initializers of Constant nodes, and of ConstantOfShape nodes whose shape is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem, UnsupportedOp
from trunkline.graph.graph import CONSTANT, ROLE_KEY, is_weight, name_of
from trunkline.graph.passes.editor import Editor, static
from trunkline.graph.roles import ARITHMETIC
from trunkline.limits import Budget


@dataclass(frozen=True, slots=True)
class LiftConstants:
    """Stores what the nodes would compute, under the name of their output.

    A ConstantOfShape stays lazy: a network whose weights are written that way is read without filling them.

    Attributes:
        budget: What the file may have stored.
        are_formulas: Whether such nodes hold no weights in this file, however many numbers they hold.
    """

    budget: Budget
    are_formulas: bool = False

    def __call__(self, graph: ir.Graph) -> int:
        """Lift the constants of ``graph``, and return how many there were."""
        editor = Editor(graph)
        changed = 0
        for node in graph:
            tensor = constant_tensor(node, self.budget)
            if tensor is not None:
                value = replace_by_tensor(editor, node, tensor)
                if is_weight(value) and (self.are_formulas or _is_number(value)):
                    value.metadata_props[ROLE_KEY] = CONSTANT
                changed += 1
        return changed


_FUNCTIONS = frozenset({"Cast", "Exp", "Log", "Neg", "Reciprocal", "Sqrt"})
"""What else a formula does with a number, as the root of 64 by which scores of attention are divided."""


def _is_number(value: ir.Value) -> bool:
    """Whether ``value`` is one number that only arithmetic reads."""
    # Exporters write formulas out with Constant nodes, as x·relu6(x + 3)/6.
    single = value.const_value is not None and value.const_value.size == 1
    return single and all(node.op_type in ARITHMETIC | _FUNCTIONS for node, _ in value.uses())


def constant_tensor(node: ir.Node, budget: Budget) -> ir.TensorProtocol | None:
    """Return the tensor a Constant or ConstantOfShape node stands for, or ``None`` for any other node.

    Raises:
        InvalidModel: It is larger than the budget allows; nothing has been allocated.
        UnsupportedOp: A Constant that holds text or a sparse tensor.
    """
    if node.op_type == "Constant":
        return _constant(node, budget)
    shape = static(node, 0) if node.op_type == "ConstantOfShape" else None
    if shape is None:
        return None
    sizes = tuple(int(size) for size in shape.ravel())
    budget.charge(name_of(node.outputs[0]), sizes)
    return _filled(node, sizes)


def replace_by_tensor(editor: Editor, node: ir.Node, tensor: ir.TensorProtocol) -> ir.Value:
    """Put an initializer of the same name in the place of a node with one output."""
    return replace_by_tensors(editor, node, [tensor])[0]


def replace_by_tensors(editor: Editor, node: ir.Node, tensors: Sequence[ir.TensorProtocol]) -> list[ir.Value]:
    """Put initializers of the same names in the place of what a node gives."""
    stored = []
    for old, tensor in zip(node.outputs, tensors, strict=True):
        if old.is_graph_output():
            text = "the output does not depend on the image"
            raise InvalidModel(Problem(f"{text}: {node.op_type} computes it from constants", place=name_of(old)))
        name = old.name or editor.take_name(f"{name_of(node)}.output")
        old.name = f"{name} (lifted)"  # two values must not have one name, even until the node is removed
        stored.append(editor.store(name, tensor))
        old.replace_all_uses_with(stored[-1])
    editor.graph.remove(node, safe=True)
    return stored


def _constant(node: ir.Node, budget: Budget) -> ir.TensorProtocol:
    name = name_of(node.outputs[0])
    if len(node.attributes) != 1:
        raise InvalidModel(f"a Constant with {len(node.attributes)} attributes; one was expected", place=name)
    (attribute,) = node.attributes.values()
    if attribute.type == ir.AttributeType.TENSOR:
        tensor: ir.TensorProtocol = attribute.as_tensor()
        budget.charge(name, tuple(int(size) for size in tensor.shape.numpy()))
        return tensor
    # Since opset 12 a Constant may hold numbers without a tensor around them, also text and sparse tensors.
    types = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in types:
        raise UnsupportedOp(f"a Constant given as {attribute.name} is not supported", place=name)
    return ir.Tensor(np.asarray(attribute.value, dtype=types[attribute.name]))


def _filled(node: ir.Node, sizes: tuple[int, ...]) -> ir.TensorProtocol:
    attribute = node.attributes.get("value")
    number, dtype = np.zeros(1, np.float32), ir.DataType.FLOAT  # ONNX's default
    if attribute is not None:
        tensor = attribute.as_tensor()
        number, dtype = tensor.numpy().ravel(), tensor.dtype
    if number.size != 1:
        raise InvalidModel(
            f"ConstantOfShape: value holds {number.size} numbers, one was expected", place=node.name or ""
        )

    def fill() -> ir.TensorProtocol:
        return ir.Tensor(np.full(sizes, number[0], dtype=number.dtype), dtype=dtype)

    return ir.LazyTensor(fill, dtype, ir.Shape(sizes), cache=False)
