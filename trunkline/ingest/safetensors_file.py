"""Weights by name from a safetensors file: a header of names, types and shapes, then raw numbers. No code in it.

The file may be of a Graph, as checkpoints are, or of the torch module that the Graph was read from: then it may
hold running counts that nobody needs, buffers, and matrices whose axes the Graph has in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

Heads = Mapping[str, tuple[str, Sequence[int]]]
"""Type and shape by name."""


@dataclass(frozen=True, slots=True)
class _StoredWeight:
    """A weight of the Graph that the file has.

    Attributes:
        value: The Graph's.
        shape: As the file has it.
        axes: Which of its author's axes each axis of the weight is, where the Graph has them in another order.
    """

    value: ir.Value
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def is_ours(self) -> bool:
        """Whether the file may have it as the Graph does; a stack of channels may be a column of numbers there."""
        wanted = shape_of(self.value)
        return self.shape == wanted or (not self.axes and _without_ones(self.shape) == _without_ones(wanted))

    @property
    def is_authors(self) -> bool:
        """Whether the file may have it as its author does."""
        found = len(self.axes) == len(self.shape) and tuple(self.shape[axis] for axis in self.axes)
        return bool(self.axes) and found == shape_of(self.value)


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
    turned = _is_of_author(found)
    problems = dict(_problems(found, heads, turned, path))
    return Matched(
        {name: _lazy(name, entry, bool(turned), path) for name, entry in found.items() if name not in problems},
        tuple(name for name in heads if name not in stored and not name.endswith(_COUNTS)),
        tuple(problems.values()),
        frozenset(problems),
    )


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


def _is_of_author(found: Mapping[str, _StoredWeight]) -> bool | None:
    """Whether the file has matrices in their author's order of axes; ``None`` where their shapes do not tell."""
    turned = [entry for entry in found.values() if entry.axes]
    votes = {entry.is_authors for entry in turned if entry.is_authors != entry.is_ours}
    return votes.pop() if len(votes) == 1 else None if turned else False


def _problems(
    found: Mapping[str, _StoredWeight], heads: Heads, turned: bool | None, path: Path
) -> Iterator[tuple[str, Problem]]:
    for name, entry in found.items():
        kind = heads[name][0]
        if kind not in _FLOATS:
            advice = f"save it as one of {', '.join(_FLOATS)}"
            yield name, Problem(f"{quoted(name)} is of type {kind}", str(path), advice)
        elif not (entry.is_authors if entry.axes and turned else entry.is_ours):
            expected = shape_text(shape_of(entry.value))
            message = f"{quoted(name)} has shape {shape_text(entry.shape)}; the network expects {expected}"
            yield name, Problem(message, str(path))
        elif entry.axes and turned is None:
            message = f"{quoted(name)} is stored transposed in the network; its shape does not tell how the file has it"
            yield name, Problem(message, str(path), "load the file into the torch module, and read the module")


def _lazy(name: str, entry: _StoredWeight, turned: bool, path: Path) -> ir.LazyTensor:
    """Return a tensor in the Graph's element type and order of axes that reads its numbers whenever it is asked."""
    dtype, shape = entry.value.dtype or ir.DataType.FLOAT, shape_of(entry.value)

    def read() -> ir.TensorProtocol:
        content = _read(name, path).astype(dtype.numpy())
        content = np.ascontiguousarray(content.transpose(entry.axes)) if entry.axes and turned else content
        return ir.Tensor(content.reshape([size or 1 for size in shape]), name=name)

    return ir.LazyTensor(read, dtype, ir.Shape(shape), cache=False, name=name)


def _without_ones(shape: Sequence[int | None]) -> list[int | None]:
    return [size for size in shape if size != 1]


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
