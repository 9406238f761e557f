"""Weights that are computed: a kernel times its gain, a standardised kernel, a table that is read in stored places.

The tensors they are computed from are stored and train; the nodes that compute them are nodes of the Graph, and run
whenever it does. To what reads it, a computed weight is a weight like a stored one: it is the same for every image, so
it is known by its shape, which has no batch axis. Export computes these nodes once and stores what they give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from trunkline.graph.graph import inputs_of, shape_of
from trunkline.graph.roles import is_parameter

_MOST_BEHIND = 1_000
"""Values that a question about one value looks at, so that a hostile file cannot make reading quadratic."""


def depends_on_image(value: ir.Value) -> bool:
    """Whether a value of a Graph differs from image to image; all that does has a batch axis."""
    return not value.is_initializer() and None in shape_of(value)


def image_inputs_of(node: ir.Node) -> list[ir.Value]:
    """Return the inputs that depend on the image: neither stored nor computed from stored tensors alone."""
    return [value for value in inputs_of(node) if depends_on_image(value)]


def is_computed_weight(value: ir.Value | None) -> bool:
    """Whether an input of a node is computed, but from stored tensors alone."""
    return value is not None and not value.is_initializer() and not depends_on_image(value)


def computes_weight(node: ir.Node) -> bool:
    """Whether ``node`` is part of the computation of a weight, and so of no work that an image asks for."""
    return not any(depends_on_image(value) for value in node.outputs)


def computation_of(node: ir.Node) -> list[ir.Node]:
    """Return the nodes that compute the weights of ``node``, in an order in which they can run."""
    return computation_behind(inputs_of(node))


def computation_behind(values: Iterable[ir.Value]) -> list[ir.Node]:
    """Return the nodes that compute those of ``values`` that are computed, in an order in which they can run."""
    found: dict[ir.Node, None] = {}
    waiting = [value for value in values if is_computed_weight(value)][::-1]
    # Depth first without recursion: a file may chain more nodes than Python has stack frames.
    while waiting:
        producer = waiting[-1].producer()
        assert producer is not None
        before = [value for value in inputs_of(producer) if is_computed_weight(value)]
        missing = [value for value in before if value.producer() not in found]
        if missing and producer not in found:
            # It stays on the stack below what it needs, and is looked at again once that is found.
            waiting += missing[::-1]
            continue
        found[producer] = None
        waiting.pop()
    return list(found)


def stored_inputs_of(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the initializers that ``node`` reads, and those that the weights it reads are computed from, each once."""
    seen: set[ir.Value] = set()
    for reader in (*computation_of(node), node):
        for value in inputs_of(reader):
            if value.is_initializer() and value not in seen:
                seen.add(value)
                yield value


def has_parameters(node: ir.Node) -> bool:
    """Whether a node reads a weight that trains, be it stored or computed."""
    return any(is_parameter(value) for value in stored_inputs_of(node))


def comes_of_image(value: ir.Value) -> bool:
    """Whether a value of a graph that is being read depends on its input, whatever shapes are known so far.

    A value with more values behind it than any real weight has is taken for one that does, so the answer stays cheap.
    """
    waiting, seen = [value], {value}
    for item in waiting:  # grows while it is walked
        node = item.producer()
        is_input = node is None and not item.is_initializer()
        if is_input or len(seen) > _MOST_BEHIND:
            return True
        if node is not None:
            new = set(inputs_of(node)) - seen
            seen |= new
            waiting += new
    return False
