"""Where a number that follows the image can be read when the file runs: as the size of a value computed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.export.free_size.readings import ADVICE, Following, Readings
from trunkline.export.free_size.sizes import text_of
from trunkline.graph.elementwise import UNARY
from trunkline.graph.graph import name_of, shape_of

_MERGED = UNARY | {"BatchNormalization"}
"""What is merged with the convolution before it, by folding or by a runtime."""
_OPEN = -1
"""In a Reshape: what takes up the rest."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A number that is the size of an axis.

    Attributes:
        value: The value that has the axis.
        axis: Which axis.
        plus: What is added to its size, as a crop does whose window starts later.
    """

    value: str
    axis: int
    plus: int = 0


Number = int | Measured
Recipe = tuple[Number, ...]
"""What to put together for one input of a node."""


def recipes_of(readings: Readings) -> dict[tuple[str, int], Recipe]:
    """Return how to compute every input that follows the image, by node and index of the input.

    A number is looked up among the sizes of the image and of all values computed before. It is the size of an axis if
    the two are equal at every image size. The earliest such axis is taken, but not of what lies between a convolution
    and its normalisation or activation: a further reader would keep these from being merged.

    Raises:
        InvalidModel: A number is no size of any value; the node is named.
    """
    known = _Known()
    known.add(name_of(readings.graphs[0].input), [shape_of(graph.input) for graph in readings.graphs])
    recipes = {}
    for nodes in zip(*(graph.nodes for graph in readings.graphs), strict=True):
        for found in readings.following.get(name_of(nodes[0]), ()):
            recipes[found.node, found.index] = _recipe(found, nodes[0], known, readings)
        for index, value in enumerate(nodes[0].outputs):
            if value.name:
                known.add(value.name, readings.shapes(nodes, index), may_vanish=_may_vanish(value))
    return recipes


class _Known:
    """The sizes that are known so far: what they are at every image size, and where they can be read."""

    def __init__(self) -> None:
        self._exact: dict[tuple[int, ...], Measured] = {}
        self._vanishing: dict[tuple[int, ...], Measured] = {}
        self._shifted: dict[tuple[int, ...], tuple[Measured, int]] = {}

    def add(self, value: str, shapes: Sequence[Sequence[int | None]], *, may_vanish: bool = False) -> None:
        """Add a value with its shape at every image size."""
        exact = self._vanishing if may_vanish else self._exact
        if len({len(shape) for shape in shapes}) > 1:
            return
        for axis, sizes in enumerate(zip(*shapes, strict=True)):
            numbers = tuple(size or 0 for size in sizes)
            if len(set(numbers)) > 1:
                exact.setdefault(numbers, Measured(value, axis))
                self._shifted.setdefault(_growth(numbers), (Measured(value, axis), numbers[0]))

    def find(self, numbers: tuple[int, ...], *, may_add: bool) -> Number | None:
        """Return where numbers, one for each image size, can be read; with ``may_add``, up to a fixed difference."""
        if len(set(numbers)) == 1:
            return numbers[0]
        found = self._exact.get(numbers) or self._vanishing.get(numbers)
        if found is not None or not may_add or _growth(numbers) not in self._shifted:
            return found
        base, first = self._shifted[_growth(numbers)]
        return Measured(base.value, base.axis, numbers[0] - first)


def _may_vanish(value: ir.Value) -> bool:
    """Whether the only reader of a value may be merged with the node that computes it."""
    readers = value.consumers()
    return len(readers) == 1 and readers[0].op_type in _MERGED and not value.is_graph_output()


def _growth(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(number - numbers[0] for number in numbers)


def _recipe(found: Following, node: ir.Node, known: _Known, readings: Readings) -> Recipe:
    columns = list(zip(*found.numbers, strict=True))
    recipe = [known.find(column, may_add=node.op_type == "Slice") for column in columns]
    if node.op_type == "Resize" and any(isinstance(number, int) for number in recipe):
        raise _no_size(node, found, readings, "it goes to one size whatever the image's is")
    # A Reshape may leave one number open: then it need not be read anywhere.
    can_be_open = node.op_type == "Reshape" and _OPEN not in recipe and recipe.count(None) == 1
    if can_be_open:
        recipe[recipe.index(None)] = _OPEN
    done = tuple(number for number in recipe if number is not None)
    if len(done) < len(recipe):
        raise _no_size(node, found, readings, "these are the size of no value that is computed before")
    return done


def _no_size(node: ir.Node, found: Following, readings: Readings, why: str) -> InvalidModel:
    given, other, *_ = map(text_of, readings.sizes)
    here, there, *_ = map(list, found.numbers)
    text = f"{node.op_type}: its sizes are {here} for images of {given}, {there} for {other}; {why}"
    return InvalidModel(text, place=name_of(node), advice=ADVICE)
