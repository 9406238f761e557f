"""Whether a network with computed sizes works at image sizes at which it was not read: the shapes of all its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.export.free_size.readings import ADVICE, Readings
from trunkline.export.free_size.sizes import Size, text_of
from trunkline.export.free_size.sources import Measured, Recipe
from trunkline.graph.graph import name_of, shape_of
from trunkline.graph.node_shapes import infer_node
from trunkline.graph.passes.editor import put, set_input

Recipes = Mapping[tuple[str, int], Recipe]


def check_sizes(readings: Readings, recipes: Recipes, sizes: Iterable[Size]) -> None:
    """Infer every shape at each of ``sizes``, without reading the network again.

    Raises:
        InvalidModel: A node is impossible at one of them, as where two maps that are added are rounded differently.
    """
    graph = readings.graphs[0].copy()
    for size in sizes:
        graph.input.shape = ir.Shape([1, shape_of(graph.input)[1], *size])
        known = {name_of(graph.input): _sizes(graph.input)}
        for node in graph.nodes:
            try:
                _settle(node, recipes, known)
                _infer(node)
            except InvalidModel as error:
                text = f"for images of {text_of(size)}: {error.problems[0].message}"
                raise InvalidModel(text, place=name_of(node), advice=ADVICE) from error
            known |= {value.name: _sizes(value) for value in node.outputs if value.name}


def _settle(node: ir.Node, recipes: Recipes, known: Mapping[str, Sequence[int]]) -> None:
    """Give a node the numbers that it would compute."""
    for index in range(4):
        recipe = recipes.get((name_of(node), index))
        if recipe is None:
            continue
        if node.op_type == "Resize":
            put(node, "axes", [2, 3])
            set_input(node, 2, None)
        numbers = [
            known[number.value][number.axis] + number.plus if isinstance(number, Measured) else number
            for number in recipe
        ]
        name = f"{name_of(node)}.numbers {index}"
        content = ir.Tensor(np.array(numbers, np.int64), name=name)
        kind = ir.TensorType(ir.DataType.INT64)
        set_input(node, index, ir.Value(name=name, shape=ir.Shape([len(numbers)]), type=kind, const_value=content))


def _infer(node: ir.Node) -> None:
    infer_node(node)
    for value in node.outputs:
        if value.name and min(_sizes(value), default=1) < 1:
            raise InvalidModel(f"{node.op_type}: its output is empty")


def _sizes(value: ir.Value) -> tuple[int, ...]:
    return tuple(size or 0 for size in shape_of(value))
