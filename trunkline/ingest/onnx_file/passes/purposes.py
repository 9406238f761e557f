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
"""Between a stored variance and its root: a small number added, a bound, another shape."""
_FEW_BITS = frozenset({ir.DataType.INT4, ir.DataType.INT8, ir.DataType.UINT4, ir.DataType.UINT8})

_FLOATS = frozenset(int(kind) for kind in ir.DataType if kind.is_floating_point())

Values = AbstractSet[ir.Value]


@dataclass(frozen=True, slots=True)
class Purposes:
    """The values of a graph by what they are for; all but the first set do not depend on the image.

    Attributes:
        from_image: Those that depend on the image.
        known: What must be known while reading: settings, sizes and statistics, and all behind them.
        trained: What a gradient of the result reaches; some of it must be known as well, as where a weight is bent at
            a threshold.
        merged: What is computed from tensors that would not train well by themselves, and all behind it: it becomes
            one weight, which trains.
        widened: Weights that are stored in whole numbers of 8 bits or fewer, as the numbers they are computed with.
        stepped: Views of weights that other weights are computed from.
    """

    from_image: Values
    known: Values
    trained: Values
    merged: Values
    widened: Values
    stepped: Values


NOTHING = Purposes(*[frozenset[ir.Value]()] * 6)
"""What is known of a graph that nobody has looked at."""


def purposes_of(graph: ir.Graph) -> Purposes:
    """Find them in a sorted graph that has only been loaded; nothing is computed for that."""
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
    found: set[ir.Value] = set()
    for node in reversed(nodes):
        for value in node.outputs:
            readers = [reader for reader, index in value.uses() if not must_know(reader, index)]
            if any(output in found or output in from_image for reader in readers for output in reader.outputs):
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
    is_matrix = value.shape is not None and len(value.shape) > 1
    return value.is_initializer() and value.dtype in _FEW_BITS and is_matrix and ROLE_KEY not in value.metadata_props


def _bent(nodes: Iterable[ir.Node]) -> Iterator[ir.Value]:
    """Yield the roots and logarithms of stored tensors, and the products of such tensors with vectors.

    A file does not say which of its tensors its author trained. The root of one is that of a variance, where a
    normalisation is written out (torchvision's FrozenBatchNorm2d); trained, it could fall below zero. In a product with
    a vector, such as spectral normalisation's, its author moved the vector by other means than gradients.
    """
    shifted: set[ir.Value] = set()
    for node in nodes:
        stored = [value for value in inputs_of(node) if _is_unmarked(value)]
        plain = [value for value in inputs_of(node) if value in shifted or _is_unmarked(value)]
        if plain and node.op_type in _SHIFTED:
            shifted.update(node.outputs)
        bends = node.op_type in ("Sqrt", "Log", "Reciprocal") or (node.op_type == "Pow" and _is_fraction(node))
        if (bends and plain) or (node.op_type in _PRODUCTS and _has_vector(node, stored)):
            yield from node.outputs


def _has_vector(product: ir.Node, stored: Sequence[ir.Value]) -> bool:
    """Whether one of the two factors is a stored vector, or one repeated; a bias, the third input, is none."""
    factors = [value for value in product.inputs[:2] if value is not None and value in stored]
    return any(_is_vector(factor) for factor in factors)


def _is_vector(factor: ir.Value) -> bool:
    if factor.shape is not None and sum(size != 1 for size in factor.shape) < 2:
        return True
    content = array_of(factor) if factor.const_value is not None else np.zeros(0)
    return content.ndim > 1 and bool((content == content[:1]).all())


def _is_fraction(power: ir.Node) -> bool:
    exponent = static(power, 1)
    return exponent is None or bool((exponent != np.round(exponent)).any())


def _is_unmarked(value: ir.Value) -> bool:
    """Whether a value is a stored weight of which nobody said whether it trains; a number without axes does not."""
    has_axes = value.shape is not None and len(value.shape) > 0
    return is_weight(value) and has_axes and ROLE_KEY not in value.metadata_props


def _stepped(nodes: Sequence[ir.Node]) -> set[ir.Value]:
    among, found = set(nodes), set[ir.Value]()
    for node in reversed(nodes):
        for value in node.outputs if node.op_type in VIEWS else ():
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
        if node is not None and node.op_type not in _SIZES:
            more = {value for value in inputs_of(node) if value not in found and value not in from_image}
            found |= more
            waiting += more
    return found


def _ahead(values: Iterable[ir.Value], from_image: Values) -> set[ir.Value]:
    """Return ``values`` and all that is computed from them without the image."""
    found = set(values)
    waiting = list(found)
    while waiting:
        readers = waiting.pop().consumers()
        more = {value for node in readers for value in node.outputs if value not in found and value not in from_image}
        found |= more
        waiting += more
    return found
