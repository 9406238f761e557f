"""Weights by name from a safetensors file: a header of names, types and shapes, then raw numbers. No code in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem
from trunkline.ingest.caffemodel.match import Matched
from trunkline.ingest.graph import Graph, shape_of
from trunkline.ingest.limits import Budget, Limits
from trunkline.ingest.parameters import role_of
from trunkline.ingest.prototxt.source import quoted

_FLOATS = ("F64", "F32", "F16")


def match_safetensors(graph: Graph, path: Path, limits: Limits) -> Matched:
    """Find every weight of ``graph`` in the file; the numbers stay there until they are wanted.

    Raises:
        InvalidModel: It is no safetensors file, or asks for more than ``limits`` allow.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
            heads = {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        advice = "save the weights again with the safetensors package"
        raise InvalidModel(f"this is no safetensors file: {error}", place=str(path), advice=advice) from error
    budget = Budget(limits)
    for name, (_, shape) in heads.items():
        budget.charge(f"{path}: {name}", shape)
    wanted = {name: value for name, value in graph.initializers.items() if role_of(value) != "static"}
    problems = dict(_problems(heads, wanted, path))
    fitting = {name: value for name, value in wanted.items() if name in heads and name not in problems}
    return Matched(
        {name: _lazy(name, value, path) for name, value in fitting.items()},
        tuple(name for name in heads if name not in graph.initializers),
        tuple(problems.values()),
        frozenset(problems),
    )


def _problems(
    heads: dict[str, tuple[str, list[int]]], wanted: dict[str, ir.Value], path: Path
) -> Iterator[tuple[str, Problem]]:
    for name, value in wanted.items():
        kind, shape = heads.get(name, ("F32", list(shape_of(value))))
        if kind not in _FLOATS:
            advice = f"save it as one of {', '.join(_FLOATS)}"
            yield name, Problem(f"{quoted(name)} is of type {kind}", str(path), advice)
        elif tuple(shape) != shape_of(value):
            message = f"{quoted(name)} has shape {shape}; the network expects {list(shape_of(value))}"
            yield name, Problem(message, str(path))


def _lazy(name: str, value: ir.Value, path: Path) -> ir.LazyTensor:
    """Return a tensor in the Graph's element type that reads its numbers whenever it is asked."""
    dtype = value.dtype or ir.DataType.FLOAT

    def read() -> ir.TensorProtocol:
        return ir.Tensor(_read(name, path).astype(dtype.numpy()), name=name)

    return ir.LazyTensor(read, dtype, ir.Shape(shape_of(value)), cache=False, name=name)


def _read(name: str, path: Path) -> np.ndarray[Any, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            array: np.ndarray[Any, Any] = file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise InvalidModel(f"{quoted(name)} cannot be read any more: {error}", place=str(path)) from error
    if not np.isfinite(array).all():
        advice = "the training diverged: use an earlier checkpoint"
        raise InvalidModel(f"{quoted(name)} holds NaN or infinity", place=str(path), advice=advice)
    return array
