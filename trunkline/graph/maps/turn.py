"""Give a backbone's outputs as maps ``[N, C, H, W]``, where the file has their axes in another order or on one axis."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel, Problem
from trunkline.graph.axes.axis import COLUMN, LEARNED, ROW, SAME, UNKNOWN, Axes, Axis, in_words, is_along, is_only
from trunkline.graph.free_shapes import infer_free
from trunkline.graph.graph import Attribute, Graph, name_of, shape_of
from trunkline.graph.maps.feature_map import FeatureMap, Maps, Rearrangement
from trunkline.graph.passes.editor import Editor
from trunkline.text import quoted, shape_text


def turned(graph: Graph) -> Graph:
    """Return ``graph`` with maps ``[N, C, H, W]`` for its outputs, and a note on each that was turned for it.

    Raises:
        InvalidModel: An output of four axes is known to be no map, such as a pooled vector with its channels last.
    """
    maps = Maps(graph)
    no_maps = [value for value in graph.outputs if value not in maps]
    problems = [problem for value in no_maps if (problem := _problem(value, maps.axes[value]))]
    if problems:
        raise InvalidModel(problems)
    # The user named it as a feature, and knows what could not be followed.
    notes = [_taken_as_named(value) for value in no_maps if _is_unknown(value, maps.axes[value])]
    found = [maps.get(value) for value in graph.outputs]
    turns = {place: item for place, item in enumerate(found) if item is not None and item.turn is not None}
    if not turns:
        return Graph(graph.model, (*graph.notes, *notes))
    copy = graph.copy()
    outputs = copy.model.graph.outputs
    for place, item in turns.items():
        notes.append(turn_note(item))
        outputs[place] = _turn(copy.model.graph, outputs[place], item)
    return Graph(copy.model, (*graph.notes, *notes))


def _turn(graph: ir.Graph, value: ir.Value, found: FeatureMap) -> ir.Value:
    """Add the nodes that turn ``value`` into ``[N, C, H, W]``, and return the map."""
    editor, turn = Editor(graph), found.turn
    assert turn is not None
    if turn.part is not None:
        axis, start, size = turn.part
        edges = {"from": start, "to": start + size, "axis": axis}
        settings = [editor.constant(f"{name_of(value)}.{name}", [edge], np.int64) for name, edge in edges.items()]
        value = _added(editor, "Slice", [value, *settings], {})
    if turn.order != tuple(range(len(turn.order))):
        value = _added(editor, "Transpose", [value], {"perm": list(turn.order)})
    if turn.grid is not None:
        # A Reshape's 0 keeps the size that is there: the batch stays free.
        sizes = editor.constant(f"{name_of(value)}.shape", [0, found.channels, *turn.grid], np.int64)
        value = _added(editor, "Reshape", [value, sizes], {"allowzero": 0})
    if turn.columns_first:
        value = _added(editor, "Transpose", [value], {"perm": [0, 1, 3, 2]})
    return value


def _added(editor: Editor, op: str, inputs: list[ir.Value], attributes: dict[str, Attribute]) -> ir.Value:
    before = inputs[0].producer()
    assert before is not None
    node = editor.after(before, op, inputs, attributes)
    infer_free(node)
    return node.outputs[0]


def turn_note(found: FeatureMap) -> str:
    """Return the note on a map that is turned: how its axes lie in the network."""
    shape = f"[N, {found.channels}, {found.rows}, {found.columns}]"
    return f"{quoted(name_of(found.value))} is {_described(found)}; it is turned into {shape} for the heads"


def _described(found: FeatureMap) -> str:
    turn = found.turn
    assert turn is not None
    if turn.part is not None:
        _, start, count = turn.part
        total = shape_of(found.value)[turn.part[0]]
        return f"a sequence of {total} tokens, of which {count} are positions of the map, from number {start} on"
    return "a sequence of positions" if turn.grid is not None else _order(turn)


def _order(turn: Rearrangement) -> str:
    letters = [""] * 4
    for axis, letter in zip(turn.order, "NCHW", strict=True):
        letters[axis] = letter
    return f"[{', '.join(letters)}]"


def _taken_as_named(value: ir.Value) -> str:
    return f"which axis of {quoted(name_of(value))} is which is not known; it is taken as [N, C, H, W]"


def _is_unknown(value: ir.Value, axes: Axes) -> bool:
    return len(axes) == 4 and any(axis and is_only(axis, UNKNOWN, LEARNED) for axis in axes[2:])


def _problem(value: ir.Value, axes: Axes) -> Problem | None:
    """Return what is wrong with an output that is known to be no map.

    A map of one position or one row may be named, and so may a value whose axes could not be followed.
    """
    if len(axes) != 4:
        return None
    if _may_be(axes[2], ROW) and _may_be(axes[3], COLUMN):
        return None
    feature = f"{quoted(name_of(value))} {shape_text(value.shape)}"
    text = f"the feature {feature} is no map [N, C, H, W]: its axes are {in_words(axes)}"
    return Problem(text, advice="name a feature map; `inspect` shows those that are found")


def _may_be(axis: Axis, kind: str) -> bool:
    return is_along(axis, kind) or is_only(axis, UNKNOWN, LEARNED, SAME)
