"""What the values that do not depend on the image are for: steering how the network is built, or training.

Both may be computed from stored tensors. What a setting is computed from must be computed while reading; what a weight
is computed from can go on training, if the computation stays in the Graph (:mod:`trunkline.graph.computed_weights`).
Each question is answered for the whole graph in one walk, so that a hostile file cannot ask it a million times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import ROLE_KEY, array_of, attribute, inputs_of, is_weight
from trunkline.graph.passes.editor import static
from trunkline.graph.roles import STATISTICS, is_setting_place

VIEWS = frozenset({"Cast", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that give a weight as it is, in another shape or precision."""

_SIZES = frozenset({"Shape", "Size"})
_GIVES_NO_FLOATS = frozenset(
    {
        *("And", "ArgMax", "ArgMin", "ConstantOfShape", "Equal", "Greater", "GreaterOrEqual", "If", "Less"),
        *("LessOrEqual", "Not", "Or", "Range", "Xor"),
    }
)
"""Operators that give sizes, truth values or places: no gradient goes through them."""
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"})
_SHIFTED = VIEWS | {"Add", "Clip", "Identity", "Max", "Sub"}
"""Operators that may come between a stored variance and its root: a small number added, a bound, another shape."""
_FEW_BITS = frozenset({ir.DataType.INT4, ir.DataType.INT8, ir.DataType.UINT4, ir.DataType.UINT8})

_FLOATS = frozenset(int(kind) for kind in ir.DataType if kind.is_floating_point())

Values = AbstractSet[ir.Value]


@dataclass(frozen=True, slots=True)
class Purposes:
    """The values of a graph by what they are for; all but the first set do not depend on the image.

    Attributes:
        from_image: Values that depend on the image.
        known: Values that must be known while reading: settings, sizes and statistics, and all behind them.
        trained: Values that a gradient of the result reaches; some must be known as well, as where a weight is bent
            at a threshold.
        merged: Values computed from tensors that would not train well by themselves, and all behind them: each result
            becomes one weight, which trains.
        widened: Weights that are stored in whole numbers of 8 bits or fewer, cast to the floats they stand for.
        stepped: Views of weights that other weights are computed from.
    """

    from_image: Values
    known: Values
    trained: Values
    merged: Values
    widened: Values
    stepped: Values


NOTHING = Purposes(*[frozenset[ir.Value]()] * 6)
"""No purposes, for a graph that has not been looked at."""


def purposes_of(graph: ir.Graph) -> Purposes:
    """Find the purposes of the values of a sorted graph, as it was loaded; nothing is computed for that."""
    # With the nodes in branches of an If: one of them will take its place.
    every = list(graph.all_nodes())
    from_image = _from_image(graph, every)
    nodes = [node for node in every if from_image.isdisjoint(node.outputs)]
    settings = (value for node in every for value in _known_to(node, from_image) if value not in from_image)
    widened = _widened(nodes, _behind(_weights_of_products(every), from_image))
    merged = _ahead([*_bent(nodes), *widened], from_image)
    return Purposes(
        from_image=from_image,
        known=_behind(settings, from_image),
        trained=_trained(nodes, from_image),
        merged=_behind(merged, from_image),
        widened=frozenset(widened),
        stepped=_stepped(nodes),
    )


def _from_image(graph: ir.Graph, nodes: Iterable[ir.Node]) -> set[ir.Value]:
    found = set(graph.inputs)
    for node in nodes:
        if node.op_type not in _SIZES and not found.isdisjoint(inputs_of(node)):
            found.update(node.outputs)
    return found


def _known_to(node: ir.Node, from_image: Values) -> Iterator[ir.Value]:
    """Yield the inputs that ``node`` must know while reading."""
    # The statistics of a weight's own normalisation are part of its computation, and go into it as constants.
    is_norm = node.op_type == "BatchNormalization" and not from_image.isdisjoint(node.outputs)
    for index, value in enumerate(node.inputs):
        if value is not None and (must_know(node, index) or (is_norm and index in STATISTICS)):
            yield value


def must_know(node: ir.Node, index: int) -> bool:
    """Whether ``node`` needs its input ``index`` as numbers while it is read, and passes no gradient on to it."""
    if node.op_type in _GIVES_NO_FLOATS or (node.op_type == "Cast" and not _casts_to_floats(node)):
        return True
    return is_setting_place(node, index) or (node.op_type == "Upsample" and index == 1)


def _trained(nodes: Sequence[ir.Node], from_image: Values) -> set[ir.Value]:
    """Return the values among ``nodes`` from which a way of readers that pass gradients on leads to the image's."""
    found: set[ir.Value] = set()
    for node in reversed(nodes):
        for value in node.outputs:
            readers = [reader for reader, index in value.uses() if not must_know(reader, index)]
            results = [output for reader in readers for output in reader.outputs]
            if any(output in found or output in from_image for output in results):
                found.add(value)
    return found


def _casts_to_floats(node: ir.Node) -> bool:
    return attribute(node, "to") in _FLOATS


def _weights_of_products(nodes: Iterable[ir.Node]) -> Iterator[ir.Value]:
    for node in nodes:
        if node.op_type in _PRODUCTS:
            yield from (value for value in node.inputs[1:2] if value is not None)


def _widened(nodes: Iterable[ir.Node], weights: Values) -> list[ir.Value]:
    """Return what is cast from few bits and becomes the weight of a product; sizes and places take more bits."""
    few, found = set[ir.Value](), list[ir.Value]()
    for node in nodes:
        source = next(inputs_of(node), None)
        if source is None or node.op_type not in VIEWS:
            continue
        is_few = source in few or _is_of_few_bits(source)
        if is_few and node.op_type == "Cast" and _casts_to_floats(node):
            found += [value for value in node.outputs if value in weights]
        elif is_few:
            few.update(node.outputs)
    return found


def _is_of_few_bits(value: ir.Value) -> bool:
    """Whether ``value`` is a stored matrix of few bits, of which nothing is noted."""
    if not value.is_initializer() or value.dtype not in _FEW_BITS:
        return False
    is_matrix = value.shape is not None and len(value.shape) > 1
    return is_matrix and ROLE_KEY not in value.metadata_props


def _bent(nodes: Iterable[ir.Node]) -> Iterator[ir.Value]:
    """Yield the roots and logarithms of stored tensors, and the products of such tensors with vectors.

    A file does not say which of its tensors its author trained.

    1. The root of a tensor is that of a variance, where a normalisation is written out (torchvision's
       FrozenBatchNorm2d). Trained, it could fall below zero.
    2. In a product with a vector, such as spectral normalisation's, its author moved the vector by other means than
       gradients.
    """
    shifted: set[ir.Value] = set()
    for node in nodes:
        stored = [value for value in inputs_of(node) if _is_unmarked(value)]
        plain = [value for value in inputs_of(node) if value in shifted or _is_unmarked(value)]
        if plain and node.op_type in _SHIFTED:
            shifted.update(node.outputs)
        is_root = node.op_type in ("Sqrt", "Log", "Reciprocal") or (node.op_type == "Pow" and _is_fraction(node))
        is_of_variance = is_root and bool(plain)  # rule 1
        is_of_vector = node.op_type in _PRODUCTS and _has_vector(node, stored)  # rule 2
        if is_of_variance or is_of_vector:
            yield from node.outputs


def _has_vector(product: ir.Node, stored: Sequence[ir.Value]) -> bool:
    """Whether one of the two factors is a stored vector, or one repeated; a bias, the third input, is none."""
    factors = [value for value in product.inputs[:2] if value is not None and value in stored]
    return any(_is_vector(factor) for factor in factors)


def _is_vector(factor: ir.Value) -> bool:
    if factor.shape is not None:
        long_axes = [size for size in factor.shape if size != 1]
        if len(long_axes) < 2:
            return True
    if factor.const_value is None:
        return False
    content = array_of(factor)
    return content.ndim > 1 and bool((content == content[:1]).all())


def _is_fraction(power: ir.Node) -> bool:
    exponent = static(power, 1)
    return exponent is None or bool((exponent != np.round(exponent)).any())


def _is_unmarked(value: ir.Value) -> bool:
    """Whether a value is a stored weight without a mark; a number without axes is part of a formula."""
    has_axes = value.shape is not None and len(value.shape) > 0
    return is_weight(value) and has_axes and ROLE_KEY not in value.metadata_props


def _stepped(nodes: Sequence[ir.Node]) -> set[ir.Value]:
    """Return the views from which another of ``nodes`` computes a weight, directly or behind further views."""
    among, found = set(nodes), set[ir.Value]()
    for node in reversed(nodes):
        if node.op_type not in VIEWS:
            continue
        for value in node.outputs:
            readers = [reader for reader in value.consumers() if reader in among]
            if any(reader.op_type not in VIEWS or not found.isdisjoint(reader.outputs) for reader in readers):
                found.add(value)
    return found


def _behind(values: Iterable[ir.Value], from_image: Values) -> set[ir.Value]:
    """Return ``values`` and all they are computed from, without what depends on the image."""
    found = set(values) - from_image
    waiting = list(found)
    while waiting:
        node = waiting.pop().producer()
        if node is not None and node.op_type not in _SIZES:  # a size does not depend on what is stored
            new = {value for value in inputs_of(node) if value not in found and value not in from_image}
            found |= new
            waiting += new
    return found


def _ahead(values: Iterable[ir.Value], from_image: Values) -> set[ir.Value]:
    """Return ``values`` and all that is computed from them without the image."""
    found = set(values)
    waiting = list(found)
    while waiting:
        results = [value for node in waiting.pop().consumers() for value in node.outputs]
        new = {value for value in results if value not in found and value not in from_image}
        found |= new
        waiting += new
    return found
