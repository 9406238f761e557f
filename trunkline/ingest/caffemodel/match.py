"""Blobs of a caffemodel → the weights of a Graph, by layer name, as Caffe itself matches them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem, did_you_mean
from trunkline.graph.graph import Graph, name_of, shape_of
from trunkline.ingest.caffemodel.blobs import CaffemodelBlob
from trunkline.ingest.caffemodel.reader import Caffemodel, CaffemodelLayer
from trunkline.ingest.caffemodel.targets import FACTOR, Targets, expected_of, order_of
from trunkline.text import quoted, shape_text

Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class Matched:
    """What a file has for a Graph.

    Attributes:
        tensors: Lazy float32 tensors by weight name.
        unused: Names of what the file has and the Graph does not use: layers, or weights.
        problems: One for each blob or weight of the file that does not fit.
        misfits: Names of the weights that ``problems`` are about; they are not missing as well.
    """

    tensors: Mapping[str, ir.TensorProtocol]
    unused: tuple[str, ...]
    problems: tuple[Problem, ...]
    misfits: frozenset[str]


def match(graph: Graph, model: Caffemodel) -> Matched:
    """Find the blobs of every weight of ``graph``; no number is read, except the scale factors of BatchNorms."""
    return _Matching(graph, model).run()


class _Matching:
    def __init__(self, graph: Graph, model: Caffemodel) -> None:
        self.model = model
        self.targets = Targets(graph, (layer.name for layer in model.layers))
        self.sources: dict[str, tuple[CaffemodelBlob, CaffemodelBlob | None]] = {}
        self.unused: list[str] = []
        self.problems: list[Problem] = []
        self.misfits: set[str] = set()

    def run(self) -> Matched:
        for layer in self.model.layers:
            self._layer(layer)
        tensors: dict[str, ir.TensorProtocol] = {
            name: _lazy(name, _shape(self.targets.weights[name]), blob, factor)
            for name, (blob, factor) in self.sources.items()
        }
        return Matched(tensors, tuple(self.unused), tuple(self.problems), frozenset(self.misfits))

    def _layer(self, layer: CaffemodelLayer) -> None:
        """Find the weights that one layer's blobs are, or note why they are none."""
        roles = self.targets.of(layer.name)
        if not roles:  # Caffe, too, passes over layers that the network does not have
            self.unused.append(layer.name)
            return
        order, count = order_of(roles, len(layer.blobs)), len(layer.blobs)
        if order is None:
            message = f"the file has {count} blobs for layer {quoted(layer.name)}; expected {expected_of(roles)}"
            advice = "prototxt and caffemodel must be of one network"
            self._problem(message, layer.offset, roles.values(), advice)
            return
        factor = layer.blobs[order.index(FACTOR)] if FACTOR in order else None
        if factor is not None and factor.size != 1:
            found = _shape_or_number(factor.shape)
            message = f"the scale factor of layer {quoted(layer.name)} is {found}; expected one number"
            self._problem(message, factor.offset, roles.values())
            return
        for role, blob in zip(order, layer.blobs, strict=True):
            if role != FACTOR:
                self._assign(roles[role], blob, factor if role in ("mean", "var") else None)

    def _assign(self, value: ir.Value, blob: CaffemodelBlob, factor: CaffemodelBlob | None) -> None:
        name = name_of(value)
        if not _fits(blob.shape, _shape(value)):
            found, wanted = _shape_or_number(blob.shape), _shape_or_number(_shape(value))
            self._problem(f"{quoted(name)} is {found} in the file; the network expects {wanted}", blob.offset, [value])
            return
        known = self.sources.get(name)
        # Caffe stores a shared blob with each of its layers; different numbers come from a net that did not share it.
        if known is not None and not np.array_equal(known[0].array().ravel(), blob.array().ravel()):
            self._problem(f"the layers that share {quoted(name)} hold different blobs for it", blob.offset, [value])
        self.sources[name] = blob, factor

    def _problem(self, message: str, offset: int, weights: Iterable[ir.Value], advice: str = "") -> None:
        self.misfits.update(name_of(value) for value in weights)
        self.problems.append(Problem(message, f"{self.model.label}: byte {offset:,}", advice))


def nearest(names: Sequence[str], model: Caffemodel) -> str:
    """Return advice for a network none of whose weights the file has: layers of both, and a close name."""
    layers = [layer.name for layer in model.layers]
    first = names[0].rpartition(".")[0] if names else ""  # of <layer>.<role>
    shown = ", ".join(map(quoted, layers[:5])) + ("…" if len(layers) > 5 else "")
    return f"the file has layers {shown}; {did_you_mean(first, layers[:500]) or 'is it of another network?'}"


def _fits(found: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether two shapes differ in axes of size 1 only: (1, 1, K, C) is (K, C), and (C) is (C, 1, 1)."""
    return [size for size in found if size != 1] == [size for size in wanted if size != 1]


def _lazy(name: str, shape: tuple[int, ...], blob: CaffemodelBlob, factor: CaffemodelBlob | None) -> ir.LazyTensor:
    """Return a tensor that reads its numbers each time they are wanted, so that the file is their only lasting copy."""

    def read() -> ir.TensorProtocol:
        return ir.Tensor(_scaled(blob.array(), factor).reshape(shape), name=name)

    return ir.LazyTensor(read, ir.DataType.FLOAT, ir.Shape(shape), cache=False, name=name)


def _scaled(content: Array, factor: CaffemodelBlob | None) -> Array:
    """Multiply BatchNorm's sums by 1 / factor in float32, as Caffe's layer does; by 0 where the factor is 0."""
    if factor is None:
        return content
    divisor = factor.array().reshape(())[()]
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Array = content * (np.float32(1) / divisor if divisor != 0 else np.float32(0))
    if not np.isfinite(scaled).all():
        text = f"the statistics of this layer, divided by its scale factor {divisor}, are not finite"
        raise InvalidModel(text, place=factor.place, advice="the training diverged: use an earlier snapshot")
    return scaled


def _shape(value: ir.Value) -> tuple[int, ...]:
    return tuple(size or 0 for size in shape_of(value))


def _shape_or_number(shape: Sequence[int]) -> str:
    return shape_text(shape) if shape else "a single number"
