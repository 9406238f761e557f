"""Weights by name from a safetensors file: a header of names, types and shapes, then raw numbers. No code in it.

The file may be of a Graph, as checkpoints are, or of the torch module that the Graph was read from: then it may
hold counts of batches, which no Graph has, buffers, and matrices whose axes the Graph has in another order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.graph import AXES_KEY, Graph, is_weight, shape_of
from trunkline.ingest.caffemodel.match import Matched
from trunkline.limits import Budget, Limits
from trunkline.text import quoted, shape_text

_FLOATS = ("F64", "F32", "F16")
_COUNTS = ".num_batches_tracked"
"""What torch's BatchNorm counts besides its statistics."""

Order = Literal["graph", "module", "unknown"]
"""Whose order of axes a file has for the matrices that a Graph keeps in another order than its module."""

Heads = Mapping[str, tuple[str, Sequence[int]]]
"""Type and shape by name."""


@dataclass(frozen=True, slots=True)
class _StoredWeight:
    """A weight of the Graph that the file has.

    Attributes:
        value: The weight in the Graph.
        shape: Its shape in the file.
        axes: For each axis of the weight, the index it had in the module; empty where the Graph keeps their order.
    """

    value: ir.Value
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def fits_graph(self) -> bool:
        """Whether the file's shape is the Graph's; ``[C]`` counts as ``[C, 1, 1]``."""
        wanted = shape_of(self.value)
        if self.axes:  # axes of size 1 may have moved, so they must not be left out
            return self.shape == wanted
        return _without_ones(self.shape) == _without_ones(wanted)

    @property
    def fits_module(self) -> bool:
        """Whether the file's shape is that of the module, whose axes are in another order."""
        if not self.axes or len(self.axes) != len(self.shape):
            return False
        return tuple(self.shape[axis] for axis in self.axes) == shape_of(self.value)


def match_safetensors(graph: Graph, path: Path, limits: Limits) -> Matched:
    """Find every weight of ``graph`` in the file; the numbers stay there until they are wanted.

    Raises:
        InvalidModel: It is no safetensors file, or asks for more than ``limits`` allow.
    """
    heads = _heads(path)
    budget = Budget(limits)
    for name, (_, shape) in heads.items():
        budget.charge(f"{path}: {name}", shape)
    stored = {name: value for name, value in graph.initializers.items() if is_weight(value) and name in heads}
    found = {name: _entry(value, heads[name][1]) for name, value in stored.items()}
    order = _order_of_axes(found.values())
    problems = dict(_problems(found, heads, order, path))
    fitting = {name: entry for name, entry in found.items() if name not in problems}
    tensors = {name: _lazy(name, entry, order, path) for name, entry in fitting.items()}
    unused = tuple(name for name in heads if name not in stored and not name.endswith(_COUNTS))
    return Matched(tensors, unused, tuple(problems.values()), frozenset(problems))


def _heads(path: Path) -> Heads:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - the file is no mapping
            return {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        advice = "save the weights again with the safetensors package"
        raise InvalidModel(f"this is no safetensors file: {error}", place=str(path), advice=advice) from error


def _entry(value: ir.Value, shape: Sequence[int]) -> _StoredWeight:
    axes = value.metadata_props.get(AXES_KEY, "")
    return _StoredWeight(value, tuple(shape), tuple(int(axis) for axis in axes.split(",")) if axes else ())


def _order_of_axes(entries: Iterable[_StoredWeight]) -> Order:
    """Return whose order of axes the file's matrices have, by all whose shapes fit only one of the two.

    A square matrix fits both, so it cannot decide; two matrices that disagree leave it unknown.
    """
    transposed = [entry for entry in entries if entry.axes]
    if not transposed:
        return "graph"
    votes = {entry.fits_module for entry in transposed if entry.fits_module != entry.fits_graph}
    if len(votes) != 1:
        return "unknown"
    return "module" if votes.pop() else "graph"


def _problems(
    found: Mapping[str, _StoredWeight], heads: Heads, order: Order, path: Path
) -> Iterator[tuple[str, Problem]]:
    """Yield what is wrong with weights of the file, by name."""
    for name, entry in found.items():
        kind = heads[name][0]
        if kind not in _FLOATS:
            advice = f"save it as one of {', '.join(_FLOATS)}"
            yield name, Problem(f"{quoted(name)} is of type {kind}", str(path), advice)
        elif not _fits(entry, order):
            expected = shape_text(shape_of(entry.value))
            message = f"{quoted(name)} has shape {shape_text(entry.shape)}; the network expects {expected}"
            yield name, Problem(message, str(path))
        elif entry.axes and order == "unknown":
            message = f"{quoted(name)} is stored transposed in the network; its shape does not tell how the file has it"
            yield name, Problem(message, str(path), "load the file into the torch module, and read the module")


def _fits(entry: _StoredWeight, order: Order) -> bool:
    return entry.fits_module if entry.axes and order == "module" else entry.fits_graph


def _lazy(name: str, entry: _StoredWeight, order: Order, path: Path) -> ir.LazyTensor:
    """Return a tensor in the Graph's element type and order of axes, which reads its numbers whenever wanted."""
    dtype, shape = entry.value.dtype or ir.DataType.FLOAT, shape_of(entry.value)

    def read() -> ir.TensorProtocol:
        content = _read_tensor(name, path).astype(dtype.numpy())
        if entry.axes and order == "module":
            content = np.ascontiguousarray(content.transpose(entry.axes))
        return ir.Tensor(content.reshape([size or 1 for size in shape]), name=name)

    return ir.LazyTensor(read, dtype, ir.Shape(shape), cache=False, name=name)


def _without_ones(shape: Sequence[int | None]) -> list[int | None]:
    return [size for size in shape if size != 1]


def _read_tensor(name: str, path: Path) -> np.ndarray[Any, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            array: np.ndarray[Any, Any] = file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        # The file was read before, so it has changed or gone since.
        raise InvalidModel(f"{quoted(name)} cannot be read any more: {error}", place=str(path)) from error
    if not np.isfinite(array).all():
        advice = "the training diverged: use an earlier checkpoint"
        raise InvalidModel(f"{quoted(name)} holds NaN or infinity", place=str(path), advice=advice)
    return array
