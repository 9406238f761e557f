"""Turn an image ``[N, H, W, C]``, as TensorFlow's exporters write it, into ``[N, C, H, W]``.

The image is turned back for the file's first nodes, which then compute what they did. Where they only work number by
number until the file itself turns the image, neither is needed: the constants they read are turned instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from trunkline.graph.axes.follow import FUNCTIONS
from trunkline.graph.elementwise import BROADCASTING
from trunkline.graph.graph import array_of, attribute, data_inputs_of, name_of
from trunkline.graph.passes.editor import Editor

_TO_CHANNELS_FIRST = [0, 3, 1, 2]
_TO_CHANNELS_LAST = [0, 2, 3, 1]
_OURS = "turns the image back"
"""Marks the one transposition that no file has."""


def turn_image(graph: ir.Graph) -> None:
    """Make the image of ``graph`` ``[N, C, H, W]``, and give its readers ``[N, H, W, C]`` as before."""
    image = graph.inputs[0]
    assert image.shape is not None
    readers = image.uses()
    back = Editor(graph).before(graph[0], "Transpose", [image], {"perm": _TO_CHANNELS_LAST})
    back.metadata_props.clear()  # it comes from no line of the file
    back.meta[_OURS] = True
    for node, index in readers:
        node.replace_input_with(index, back.outputs[0])
    image.shape = ir.Shape([image.shape[axis] for axis in _TO_CHANNELS_FIRST])


@dataclass(frozen=True, slots=True)
class DropTurns:
    """Removes the transposition of :func:`turn_image` and those of the file that undo it.

    The nodes between must work number by number. Shapes must be known, and constants folded.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Remove the transpositions at the start of ``graph``, or leave all as it is; return how many nodes went."""
        back = next((node for node in graph.inputs[0].consumers() if _OURS in node.meta), None)
        if back is None:
            return 0
        region = _region(graph, back)
        if region is None:
            return 0
        editor = Editor(graph)
        for node in region.working:
            _turn_constants(node, editor)
        for node in region.passing:
            source = node.inputs[0]
            assert source is not None
            node.outputs[0].replace_all_uses_with(source)
            graph.remove(node, safe=True)
        return len(region.passing)


@dataclass(frozen=True, slots=True)
class _Region:
    """What an image goes through while its channels are last.

    Attributes:
        working: Nodes that work number by number, in order.
        passing: Nodes that are not needed if it need not be turned: transpositions, and Reshapes to the same shape.
    """

    working: list[ir.Node] = field(default_factory=list)
    passing: list[ir.Node] = field(default_factory=list)


def _region(graph: ir.Graph, back: ir.Node) -> _Region | None:
    """Return what lies between ``back`` and the file's own transpositions; ``None`` where it needs channels last."""
    region = _Region(passing=[back])
    last = set(back.outputs)
    for node in graph:
        reads = data_inputs_of(node)
        if node is back or last.isdisjoint(reads):
            continue
        if any(value.is_graph_output() for value in node.outputs):
            return None
        is_turn = node.op_type == "Transpose" and attribute(node, "perm") == _TO_CHANNELS_FIRST
        # Whatever it reads of the image must have its channels last too: the constants beside it are turned.
        is_elementwise = node.op_type in FUNCTIONS | BROADCASTING and last.issuperset(reads) and _reads_four_axes(node)
        if is_elementwise:
            region.working.append(node)
        elif is_turn or _keeps_shape(node):
            region.passing.append(node)
        else:
            return None
        if not is_turn:
            last.update(node.outputs)
    return region


def _keeps_shape(node: ir.Node) -> bool:
    source = node.inputs[0]
    return node.op_type == "Reshape" and source is not None and source.shape == node.outputs[0].shape


def _reads_four_axes(node: ir.Node) -> bool:
    return all(len(value.shape or ()) <= 4 for value in node.inputs if value is not None)


def _turn_constants(node: ir.Node, editor: Editor) -> None:
    """Turn the stored operands of ``node``, such as the mean of each channel, ``[C]`` or ``[1, 1, 1, C]``."""
    for index, value in enumerate(node.inputs):
        if value is None or not value.is_initializer() or value.const_value is None:
            continue
        if value.const_value.size == 1:  # one number means the same in any order
            continue
        content = array_of(value)
        four_axes = content.reshape((1,) * (4 - content.ndim) + content.shape)
        # A copy: other nodes may read the constant as it is.
        copy = editor.constant(f"{name_of(value)}.channels_first", four_axes.transpose(_TO_CHANNELS_FIRST))
        copy.metadata_props.update(value.metadata_props)
        node.replace_input_with(index, copy)
