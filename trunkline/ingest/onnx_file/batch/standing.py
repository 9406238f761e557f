"""Let values stand at other sizes and numbers for a while, to ask what would come of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.ingest.onnx_file.passes.fold_constants import evaluate_all

Array = np.ndarray[Any, Any]
Sizes = tuple[int, ...]


@contextmanager
def standing(shapes: Mapping[ir.Value, Sizes], contents: Mapping[ir.Value, Array]) -> Iterator[None]:
    """Give values other ``shapes`` and ``contents``, and then those they had."""
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
    """Return what ``node`` computes of stored tensors as they stand, output by output."""
    pairs = zip(node.outputs, evaluate_all(node), strict=True)
    return [array.astype((value.dtype or ir.DataType.FLOAT).numpy(), copy=False) for value, array in pairs]


def known_sizes(value: ir.Value) -> Sizes:
    """Return the shape of ``value``, in numbers."""
    return () if value.shape is None else tuple(int(size) for size in value.shape.numpy())
