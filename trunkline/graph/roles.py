"""What an initializer is for: a parameter that trains, a running statistic, or a static argument.

ONNX stores all three in the same place. Which one an initializer is follows from who reads it, and where:
a convolution's second input trains, BatchNormalization's fourth and fifth are statistics, and the bounds of a
Clip are settings of the operator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import CONSTANT, PARAMETER, ROLE_KEY, Graph, is_weight, name_of
from trunkline.text import quoted

Role = Literal["parameter", "statistic", "static"]

STATISTICS = (3, 4)
"""The inputs of BatchNormalization that hold the running mean and variance."""

# By operator, the inputs that steer it. Most were attributes in older opsets; as inputs, they can be computed.
_SETTINGS: Mapping[str, tuple[int, ...]] = {
    "CenterCropPad": (1,),
    "Clip": (1, 2),
    "CumSum": (1,),
    "Dropout": (1, 2),
    "Expand": (1,),
    "Gather": (1,),
    "Pad": (1, 2, 3),
    "Pow": (1,),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
}

ARITHMETIC = frozenset(
    {"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Mod", "Pow", "Where", "Equal"}
    | {"Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
)
"""Where a number without axes is part of a formula, as the 1/6 of a hard sigmoid written out."""


def is_static_input(node: ir.Node, index: int) -> bool:
    """Whether input ``index`` of ``node`` is a stored setting, read when a twin is built, not when it runs."""
    value = node.inputs[index]
    return value is not None and value.is_initializer() and is_setting_place(node, index)


def is_setting_place(node: ir.Node, index: int) -> bool:
    """Whether ``node`` takes a setting as its input ``index``, wherever that comes from."""
    return index in _SETTINGS.get(node.op_type, ())


def role_at(node: ir.Node, index: int) -> Role:
    """Return what the initializer that ``node`` reads as its input ``index`` is for, to this node."""
    value = node.inputs[index]
    assert value is not None
    if node.op_type == "BatchNormalization" and index in STATISTICS:
        return "statistic"
    # Float32 alone does not make a weight: Resize's scales and Clip's bounds are float32 too.
    if not is_weight(value) or is_static_input(node, index) or _is_constant(node, value):
        return "static"
    return "parameter"


def roles_of(value: ir.Value) -> dict[Role, list[str]]:
    """Return every role an initializer plays, with the names of the nodes that read it in that role.

    In a good Graph there is at most one. Two appear where a tool has merged tensors of equal content.
    """
    roles: dict[Role, list[str]] = {}
    for node, index in value.uses():
        roles.setdefault(role_at(node, index), []).append(name_of(node))
    return roles


def role_of(value: ir.Value) -> Role:
    """Return what the initializer ``value`` is for; one that no node reads counts by its type.

    >>> import trunkline
    >>> normalisation = trunkline.read("zoo:tiny").node("conv1_bn")
    >>> [role_of(value) for value in normalisation.inputs[1:]]
    ['parameter', 'parameter', 'statistic', 'statistic']

    Raises:
        InvalidModel: It is read both as a parameter and as something that does not train.
        ValueError: ``value`` is computed, not stored.
    """
    if not value.is_initializer():
        raise ValueError(f"value {value.name!r} is not an initializer")
    roles = roles_of(value)
    if not roles:
        return "parameter" if is_weight(value) else "static"
    if len(roles) > 1:
        # SplitRoles parts such tensors while a file is read. A Graph made otherwise must not train a statistic.
        readers = "; ".join(f"a {role} of {', '.join(names)}" for role, names in roles.items())
        raise InvalidModel(
            f"initializer {quoted(name_of(value))} has more than one role: it is {readers}",
            place=name_of(value),
            advice="store one copy for each role: a tool has merged tensors that only started equal",
        )
    return next(iter(roles))


def is_parameter(value: ir.Value | None) -> bool:
    """Whether an input of a node is a stored weight that trains; computed and absent inputs are not."""
    return value is not None and value.is_initializer() and role_of(value) == "parameter"


def may_train(value: ir.Value) -> bool:
    """Whether a stored float tensor is a weight, as far as it can be judged before its readers are known."""
    if not is_weight(value) or value.shape is None:
        return False
    mark = value.metadata_props.get(ROLE_KEY)
    if mark in (CONSTANT, PARAMETER):
        return mark == PARAMETER
    # Unmarked, a number without axes is taken for part of a formula, as in role_at.
    return len(value.shape) > 0


def is_setting(value: ir.Value) -> bool:
    """Whether an initializer is only read when operators are built, so that no model need store it."""
    return role_of(value) == "static" and all(is_static_input(node, index) for node, index in value.uses())


def size_of(value: ir.Value) -> int:
    """Return the number of elements of an initializer, without evaluating a lazy one."""
    if value.const_value is None:
        raise ValueError(f"value {value.name!r} is not an initializer")
    return math.prod(value.const_value.shape.numpy())


def _is_constant(node: ir.Node, value: ir.Value) -> bool:
    """Whether a float tensor is marked as part of a formula or, unmarked, is a number without axes in one."""
    mark = value.metadata_props.get(ROLE_KEY)
    if mark is not None:
        return mark == CONSTANT
    # The 1/6 of a hard sigmoid written out, or an epsilon. A number that trains carries a mark.
    return node.op_type in ARITHMETIC and value.shape is not None and len(value.shape) == 0


def statistic_starts(graph: Graph) -> dict[str, float]:
    """Return, by running statistic, what it starts as before it has seen anything: a mean at 0, a variance at 1."""
    starts: dict[str, float] = {}
    for node in graph.nodes:
        if node.op_type == "BatchNormalization":
            for value, start in zip(node.inputs[3:5], (0.0, 1.0), strict=True):
                assert value is not None
                starts[value.name or ""] = start
    return starts
