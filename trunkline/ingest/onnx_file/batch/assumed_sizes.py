"""Assume other sizes and contents of values for a while, to compute what would come of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.ingest.onnx_file.evaluate import evaluate

Array = np.ndarray[Any, Any]
Sizes = tuple[int, ...]


@contextmanager
def assuming(shapes: Mapping[ir.Value, Sizes], contents: Mapping[ir.Value, Array]) -> Iterator[None]:
    """Give values other ``shapes`` and ``contents``, and put theirs back at the end."""
    before = [(value, value.shape, value.const_value) for value in {*shapes, *contents}]
    try:
        for value, sizes in shapes.items():
            value.shape = ir.Shape(sizes)
        for value, array in contents.items():
            value.const_value = ir.Tensor(array, name=value.name)
        yield
    finally:
        for value, shape, tensor in before:
            value.shape, value.const_value = shape, tensor


def computed(node: ir.Node) -> list[Array]:
    """Return what ``node`` computes from the tensors that its inputs hold now, output by output."""
    # numpy computes some of them in float64 or int64, whatever the operator's definition gives.
    pairs = zip(node.outputs, evaluate(node), strict=True)
    return [array.astype((value.dtype or ir.DataType.FLOAT).numpy(), copy=False) for value, array in pairs]


def known_sizes(value: ir.Value) -> Sizes:
    """Return the shape of ``value``, in numbers."""
    return () if value.shape is None else tuple(int(size) for size in value.shape.numpy())
