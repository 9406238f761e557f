"""Write a network for images of any size: with free axes, and with what follows the image computed as it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
import onnx_ir as ir

from trunkline.export.free_size.readings import Readings
from trunkline.export.free_size.sources import Measured, Number, Recipe
from trunkline.graph.graph import BATCH, Graph, name_of, shape_of
from trunkline.graph.passes.editor import Editor, put, set_input

HEIGHT, WIDTH = "height", "width"
"""Names of the image's free axes."""


def rewritten(readings: Readings, recipes: Mapping[tuple[str, int], Recipe]) -> Graph:
    """Return a copy of the first reading whose image has a free height and width.

    It is no Graph in canonical form, as sizes are not known: it is only there to be written.
    """
    free = readings.graphs[0].copy()
    editor = Editor(free.model.graph)
    values = {name_of(free.input): free.input}
    for node in free.nodes:
        for (_, index), recipe in _of_node(recipes, name_of(node)):
            made = _computed(editor, node, recipe, values)
            if node.op_type == "Resize":
                _name_both_sides(node)
            set_input(node, index, made)
        values |= {value.name: value for value in node.outputs if value.name}
    _free_axes(free, readings)
    return free


def _of_node(recipes: Mapping[tuple[str, int], Recipe], node: str) -> list[tuple[tuple[str, int], Recipe]]:
    return [((name, index), recipe) for (name, index), recipe in recipes.items() if name == node]


def _name_both_sides(node: ir.Node) -> None:
    """Let a Resize name height and width, and nothing else."""
    put(node, "axes", [2, 3])
    set_input(node, 2, None)


def _computed(editor: Editor, node: ir.Node, recipe: Recipe, values: Mapping[str, ir.Value]) -> ir.Value:
    """Put the nodes that compute a recipe in front of ``node``, and return their result."""
    parts = [_part(editor, node, run, values) for run in _runs(recipe)]
    if len(parts) == 1:
        return parts[0]
    return _output(editor.before(node, "Concat", parts, {"axis": 0}), [len(recipe)])


def _runs(recipe: Recipe) -> list[list[Number]]:
    """Split a recipe into what one node gives: stored numbers, or axes of one value that follow each other."""
    places = list(enumerate(recipe))
    runs = groupby(places, key=lambda place: _kind(*place))
    return [[number for _, number in run] for _, run in runs]


def _kind(place: int, number: Number) -> tuple[object, ...]:
    if isinstance(number, Measured):
        return number.value, number.plus, number.axis - place
    return ("stored",)


def _part(editor: Editor, node: ir.Node, run: Sequence[Number], values: Mapping[str, ir.Value]) -> ir.Value:
    first = run[0]
    if not isinstance(first, Measured):
        return editor.constant(f"{name_of(node)}.numbers", list(run), np.int64)
    bounds = {"start": first.axis, "end": first.axis + len(run)}
    sizes = _output(editor.before(node, "Shape", [values[first.value]], bounds), [len(run)])
    if not first.plus:
        return sizes
    plus = editor.constant(f"{name_of(node)}.plus", [first.plus], np.int64)
    return _output(editor.before(node, "Add", [sizes, plus], {}), [len(run)])


def _output(node: ir.Node, shape: Sequence[int]) -> ir.Value:
    value = node.outputs[0]
    value.type, value.shape = ir.TensorType(ir.DataType.INT64), ir.Shape(shape)
    return value


def _free_axes(free: Graph, readings: Readings) -> None:
    """Let axes that follow the image be free; those of the image and of the outputs have names."""
    sides = [tuple(size[side] for size in readings.sizes) for side in (0, 1)]
    others: dict[tuple[int, ...], str] = {}
    shapes = _shapes_by_name(readings)
    outputs = {name_of(value) for value in free.outputs}
    for value in [free.input, *(value for node in free.nodes for value in node.outputs)]:
        if value.name in shapes:
            is_shown = value is free.input or value.name in outputs
            sizes = [_axis(numbers, sides, others, is_shown) for numbers in zip(*shapes[value.name], strict=True)]
            value.shape = ir.Shape(sizes)


def _shapes_by_name(readings: Readings) -> dict[str, list[tuple[int | None, ...]]]:
    """Return the shape of every value at every size."""
    found: dict[str, list[tuple[int | None, ...]]] = {}
    for graph in readings.graphs:
        for value in [graph.input, *(value for node in graph.nodes for value in node.outputs)]:
            if value.name:
                found.setdefault(value.name, []).append(shape_of(value))
    return found


def _axis(
    numbers: tuple[int | None, ...],
    sides: Sequence[tuple[int, ...]],
    others: dict[tuple[int, ...], str],
    is_shown: bool,
) -> int | str | None:
    """Return an axis' size, or its name where it is free."""
    first = numbers[0]
    if first is None:
        return BATCH
    known = tuple(number or 0 for number in numbers)
    if len(set(known)) == 1:
        return first
    if not is_shown:
        return None
    for name, side in zip((HEIGHT, WIDTH), sides, strict=True):
        if text := _fraction(name, side, known):
            return text
    return others.setdefault(known, f"size{len(others) + 1}")


def _fraction(name: str, side: tuple[int, ...], numbers: tuple[int, ...]) -> str:
    """Return what part of the image's side these numbers are, in ONNX's words; empty where they are none."""
    part = max(1, round(side[0] / numbers[0]))
    if all(each == part * number for each, number in zip(side, numbers, strict=True)):
        return name if part == 1 else f"{name}/{part}"
    if all(-(-each // part) == number for each, number in zip(side, numbers, strict=True)):
        return f"ceil({name}/{part})"
    if all(each // part == number for each, number in zip(side, numbers, strict=True)):
        return f"floor({name}/{part})"
    return ""
