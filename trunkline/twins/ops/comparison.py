"""Comparisons, truth values, the choice between two tensors, and changes of type."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx_ir as ir
import torch
from torch import Tensor

from trunkline.graph.graph import attribute
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.registry import register

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}
_TYPES: dict[ir.DataType, torch.dtype] = {
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.BOOL: torch.bool,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.INT8: torch.int8,
    ir.DataType.INT16: torch.int16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    ir.DataType.UINT8: torch.uint8,
}


@register("Cast")
def cast(node: ir.Node) -> Op:
    """The same numbers in another type; a fraction is cut off where the type has none."""
    wanted = ir.DataType(attribute(node, "to"))
    if wanted not in _TYPES:
        known = ", ".join(sorted(kind.name for kind in _TYPES))
        raise unsupported_setting(node, f"the type {wanted.name}", f"supported: {known}")
    return Op(partial(_cast, dtype=_TYPES[wanted]))


def _cast(x: Tensor, *, dtype: torch.dtype) -> Tensor:
    return x.to(dtype)


def _factory(node: ir.Node) -> Op:
    return Op(_FUNCTIONS[node.op_type])


for _name in _FUNCTIONS:
    register(_name)(_factory)
