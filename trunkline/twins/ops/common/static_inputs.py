"""Static arguments: inputs that ONNX passes as tensors and a twin needs as plain numbers.

Reading them once, at build time, keeps axes and sizes visible to ``torch.compile`` and ``torch.export``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import array_of, name_of, shape_of
from trunkline.text import quoted
from trunkline.twins.op import unsupported_setting


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Return input ``index`` of a node, or ``None`` where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def static_ints(node: ir.Node, index: int) -> list[int] | None:
    """Return a static integer input as a list, or ``None`` where it is absent.

    Raises:
        UnsupportedOp: The input is computed when the model runs.
    """
    array = _static(node, index)
    return None if array is None else [int(number) for number in array.ravel()]


def static_floats(node: ir.Node, index: int) -> list[float] | None:
    """Return a static float input as a list, or ``None`` where it is absent or empty.

    Raises:
        UnsupportedOp: The input is computed when the model runs.
    """
    array = _static(node, index)
    # Opset 11 had Resize's region and scales stored as empty tensors where they are not given.
    if array is None or array.size == 0:
        return None
    return [float(number) for number in array.ravel()]


def static_number(node: ir.Node, index: int, default: float) -> float:
    """Return a static float input that holds one number, or ``default`` where it is absent."""
    found = static_floats(node, index)
    if found is None:
        return default
    if len(found) != 1:
        raise unsupported_setting(node, f"{len(found)} numbers in {_name(node, index)}", "one number was expected")
    return found[0]


def is_stored(node: ir.Node, index: int) -> bool:
    """Whether input ``index`` is present and known when the twin is built."""
    value = input_at(node, index)
    return value is not None and value.is_initializer()


def rank_of(node: ir.Node) -> int:
    """Return the number of axes of the first input, batch included."""
    value = node.inputs[0]
    assert value is not None
    return len(shape_of(value))


def _static(node: ir.Node, index: int) -> np.ndarray[Any, Any] | None:
    value = input_at(node, index)
    if value is None:
        return None
    if not value.is_initializer():
        advice = "simplify the file with a fixed image size first, so that shapes become constants"
        raise unsupported_setting(node, f"the computed argument {quoted(name_of(value))}", advice)
    return array_of(value)


def _name(node: ir.Node, index: int) -> str:
    value = input_at(node, index)
    return f"input {index}" if value is None else quoted(name_of(value))
