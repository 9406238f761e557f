"""Check the tensors a file stores against their own headers, before anything reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto

from trunkline.errors import Problem
from trunkline.limits import Limits, how_to_raise

_FIELDS: Mapping[int, tuple[str, float]] = {
    TensorProto.FLOAT: ("float_data", 4),
    TensorProto.DOUBLE: ("double_data", 8),
    TensorProto.FLOAT16: ("int32_data", 2),
    TensorProto.BFLOAT16: ("int32_data", 2),
    TensorProto.BOOL: ("int32_data", 1),
    TensorProto.INT8: ("int32_data", 1),
    TensorProto.INT16: ("int32_data", 2),
    TensorProto.INT32: ("int32_data", 4),
    TensorProto.INT64: ("int64_data", 8),
    TensorProto.INT4: ("int32_data", 0.5),
    TensorProto.UINT4: ("int32_data", 0.5),
    TensorProto.UINT8: ("int32_data", 1),
    TensorProto.UINT16: ("int32_data", 2),
    TensorProto.UINT32: ("uint64_data", 4),
    TensorProto.UINT64: ("uint64_data", 8),
}
"""By element type: the typed field that may hold the numbers instead of ``raw_data``, and bytes per number.

Of numbers of 4 bits there are two in each byte, and in each number of the typed field; the last may be left over.
"""


def is_external(tensor: TensorProto) -> bool:
    """Whether the numbers of ``tensor`` lie in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def is_packed(tensor: TensorProto) -> bool:
    """Whether two numbers of ``tensor`` share a byte."""
    return tensor.data_type in (TensorProto.INT4, TensorProto.UINT4)


def bytes_of(tensor: TensorProto) -> int:
    """Return how many bytes the numbers of ``tensor`` take, by its own shape and type."""
    _, bytes_each = _FIELDS[tensor.data_type]
    return math.ceil(int(math.prod(tensor.dims)) * bytes_each)


def numpy_type(tensor: TensorProto) -> np.dtype[np.generic]:
    """Return the element type of ``tensor``."""
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))


def tensor_problems(graph: onnx.GraphProto, limits: Limits) -> Iterator[Problem]:
    """Yield what is wrong with the stored tensors of ``graph``, in weights and in attributes."""
    total = 0
    for tensor in graph.initializer:
        yield from _problems(tensor, tensor.name or "an unnamed initializer", limits)
        total += _elements(tensor)
    for node in graph.node:
        for tensor in (a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR):
            place = node.name or (node.output[0] if node.output else node.op_type)
            if is_external(tensor):
                # Only initializers are mapped: see load.py.
                yield Problem("a tensor attribute with external data", place, "keep constants inside the model file")
            else:
                yield from _problems(tensor, place, limits)
            total += _elements(tensor)
    if total > limits.total_elements:
        text = f"the stored tensors hold {total:,} numbers; at most {limits.total_elements:,} are read"
        yield Problem(text, advice=how_to_raise("total_elements", total))


def _elements(tensor: TensorProto) -> int:
    # Two negative sizes would make a product that passes every limit.
    return math.prod(max(int(size), 0) for size in tensor.dims)


def _problems(tensor: TensorProto, place: str, limits: Limits) -> Iterator[Problem]:
    if tensor.data_type not in _FIELDS:
        kind = TensorProto.DataType.Name(tensor.data_type) if _is_named(tensor) else str(tensor.data_type)
        yield Problem(f"tensor of element type {kind}, which is not supported", place, "store it as float32 or int64")
    elif problem := limits.problem(place, tensor.dims):
        yield problem
    elif not is_external(tensor) and (found := _stored(tensor)) != _elements(tensor):
        shape = list(tensor.dims)
        yield Problem(f"tensor of shape {shape} needs {_elements(tensor):,} numbers, the file holds {found:,}", place)


def _is_named(tensor: TensorProto) -> bool:
    return tensor.data_type in TensorProto.DataType.values()


def _stored(tensor: TensorProto) -> float:
    """Return how many numbers the file holds of ``tensor``; no whole number where bytes are missing."""
    field, bytes_each = _FIELDS[tensor.data_type]
    if tensor.HasField("raw_data"):
        found = len(tensor.raw_data) / bytes_each
    else:
        found = len(getattr(tensor, field)) * (2 if is_packed(tensor) else 1)
    is_half_empty = is_packed(tensor) and _elements(tensor) % 2 == 1
    return found - 1 if is_half_empty else found
