"""A network as it is at several image sizes: the same nodes and weights, and which numbers follow the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.export.free_size.sizes import Size, size_of, text_of
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph, array_of, attribute, name_of, shape_of
from trunkline.graph.passes.editor import input_at
from trunkline.graph.roles import role_at

ADVICE = "write it for one size, without free sizes; or cut the network before this node with --features"

_SIZES: Mapping[str, tuple[int, ...]] = {"Expand": (1,), "Reshape": (1,), "Slice": (1, 2)}
"""Inputs that may be numbers which follow the image; a Resize has a rule of its own."""
_POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
_STRETCHING = ("scales", "sizes", "axes")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Following:
    """One input of a node whose numbers are others at other image sizes.

    Attributes:
        node: The node.
        index: Which of its inputs.
        numbers: What it holds at every size, the given size first: for a Resize height and width of its result.
    """

    node: str
    index: int
    numbers: tuple[tuple[int, ...], ...]


class Readings:
    """One network, read at several image sizes.

    Attributes:
        graphs: The Graphs, the one of the given size first.
        following: What follows the image.

    Raises:
        InvalidModel: The network is another one at another size, or has numbers that cannot follow the image.
    """

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self.graphs = tuple(graphs)
        self.sizes: tuple[Size, ...] = tuple(map(size_of, graphs))
        self.following: dict[str, list[Following]] = {}
        for nodes in zip_longest(*(graph.nodes for graph in graphs)):
            self._same_node(nodes)
            for found in self._followed(nodes):
                self.following.setdefault(found.node, []).append(found)
        self._same_outputs()

    def shapes(self, nodes: Sequence[ir.Node], output: int) -> list[tuple[int, ...]]:
        """Return the shape of one output of a node at every size, with 0 for the batch axis."""
        return [tuple(size or 0 for size in shape_of(node.outputs[output])) for node in nodes]

    def _same_node(self, nodes: Sequence[ir.Node | None]) -> None:
        first = next(node for node in nodes if node is not None)
        for size, node in zip(self.sizes, nodes, strict=True):
            if node is None or (node.name, node.op_type) != (first.name, first.op_type):
                raise _refused(first, f"at {text_of(size)} the network has another node in its place")
        present = [node for node in nodes if node is not None]
        _refuse_whole_map(present, self.sizes)
        for other, size in zip(present[1:], self.sizes[1:], strict=True):
            self._same_settings(first, other, size)

    def _same_settings(self, first: ir.Node, other: ir.Node, size: Size) -> None:
        for key in sorted({*first.attributes, *other.attributes}):
            here, there = attribute(first, key), attribute(other, key)
            if here != there and not (first.op_type == "Resize" and key in _STRETCHING):
                text = f"its {key} is {here} for images of {text_of(self.sizes[0])}, and {there} for {text_of(size)}"
                raise _refused(first, text)

    def _followed(self, nodes: Sequence[ir.Node]) -> Iterator[Following]:
        first = nodes[0]
        for index in range(max(len(node.inputs) for node in nodes)):
            values = [input_at(node, index) for node in nodes]
            if first.op_type == "Resize" and index > 1:
                continue
            if _is_same(first, index, values):
                continue
            contents = [_whole_numbers(value) for value in values]
            if index not in _SIZES.get(first.op_type, ()) or len({len(content or ()) for content in contents}) > 1:
                self._refuse_input(first, index, values)
            yield Following(name_of(first), index, tuple(content or () for content in contents))
        if first.op_type == "Resize" and not _is_same_stretching(nodes):
            if attribute(first, "keep_aspect_ratio_policy", "stretch") != "stretch" or input_at(first, 1) is not None:
                raise _refused(first, "its sizes follow the image, but keep an aspect ratio or a region of one size")
            shapes = self.shapes(nodes, 0)
            if any(len(shape) != 4 or shape[1] != shapes[0][1] for shape in shapes):
                raise _refused(first, "it changes other axes than height and width with the image's size")
            yield Following(name_of(first), 3, tuple(shape[2:] for shape in shapes))

    def _refuse_input(self, node: ir.Node, index: int, values: Sequence[ir.Value | None]) -> None:
        sizes = f"{text_of(self.sizes[0])} and {text_of(self.sizes[-1])}"
        texts = []
        for value in (values[0], next(each for each in values[1:] if not _is_alike(node, index, values[0], each))):
            numbers = _whole_numbers(value)
            shape = "nothing" if value is None else f"{name_of(value)} {list(shape_of(value))}"
            texts.append(shape if numbers is None else str(list(numbers)))
        raise _refused(node, f"its input {index} is {texts[0]} or {texts[1]}: it was computed for one size ({sizes})")

    def _same_outputs(self) -> None:
        names = [[name_of(value) for value in graph.outputs] for graph in self.graphs]
        if any(each != names[0] for each in names):
            raise InvalidModel("the network has other outputs at another image size", advice=ADVICE)


def _refuse_whole_map(nodes: Sequence[ir.Node], sizes: Sequence[Size]) -> None:
    """Refuse a pool over the whole map of one size: its author meant the mean, or the maximum, of any."""
    first = nodes[0]
    data = first.inputs[0] if first.op_type in _POOLS else None
    if data is None:
        return
    window = attribute(first, "kernel_shape", [])
    covers = list(shape_of(data)[2:]) == window and max(window) > 1 and not any(attribute(first, "pads", []))
    if covers and any(shape_of(node.outputs[0]) != shape_of(first.outputs[0]) for node in nodes):
        text = (
            f"its window {window} is the whole map for images of {text_of(sizes[0])}, and a part of it for larger ones"
        )
        raise InvalidModel(
            f"{first.op_type}: {text}",
            place=name_of(first),
            advice="pool with GlobalAveragePool or GlobalMaxPool; if a window is meant, give a larger --input-size",
        )


def _is_same(node: ir.Node, index: int, values: Sequence[ir.Value | None]) -> bool:
    return all(_is_alike(node, index, values[0], value) for value in values[1:])


def _is_alike(node: ir.Node, index: int, first: ir.Value | None, other: ir.Value | None) -> bool:
    """Whether two readings of a node read the same as one input: a value of one name, or equal numbers."""
    if first is None or other is None:
        return first is other
    if not first.is_initializer() or not other.is_initializer():
        return first.is_initializer() == other.is_initializer() and first.name == other.name
    # Trained weights are put in by name. Settings are named as their reader likes.
    if role_at(node, index) != "static" and first.name != other.name:
        return False
    if first.dtype != other.dtype or shape_of(first) != shape_of(other):
        return False
    fillers = Filler.of(first), Filler.of(other)
    if any(fillers):  # drawn by name and seed; to compare the numbers would draw them
        return fillers[0] == fillers[1]
    return first.const_value is other.const_value or np.array_equal(array_of(first), array_of(other))


def _is_same_stretching(nodes: Sequence[ir.Node]) -> bool:
    """Whether a Resize has the same scales at every size; the same sizes are one size, which follows nothing."""
    scales, sizes = ([input_at(node, index) for node in nodes] for index in (2, 3))
    if None not in scales:
        return _is_same(nodes[0], 2, scales)
    # What is of one size before, as the mean of an image is, may be of one size behind.
    maps = [node.inputs[0] for node in nodes]
    is_fixed = len({None if value is None else shape_of(value) for value in maps}) == 1
    return is_fixed and None not in sizes and _is_same(nodes[0], 3, sizes)


def _whole_numbers(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return a stored list of whole numbers; ``None`` for anything else."""
    if value is None or not value.is_initializer() or value.dtype not in (ir.DataType.INT64, ir.DataType.INT32):
        return None
    return tuple(int(number) for number in array_of(value).ravel())


def _refused(node: ir.Node, text: str) -> InvalidModel:
    return InvalidModel(f"{node.op_type}: {text}", place=name_of(node), advice=ADVICE)
