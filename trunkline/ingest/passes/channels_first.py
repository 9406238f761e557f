"""Turn an image ``[N, H, W, C]``, as TensorFlow's exporters write it, into ``[N, C, H, W]``.

Such a file transposes its image before the first convolution, often after subtracting a mean. The transposition is
moved to the front, past arithmetic with constants, and there becomes the image's own order of axes. Where something
else works on the image first, as padding or a swap of channels, the image is turned back for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.ingest.graph import array_of, attribute, data_inputs_of, name_of
from trunkline.ingest.passes.edit import Editor

_TO_CHANNELS_FIRST = [0, 3, 1, 2]
_TO_CHANNELS_LAST = [0, 2, 3, 1]
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "Cast", "Clip", "Relu", "Identity"})
_PREPROCESSING = frozenset({"Concat", "Gather", "Pad", "Resize", "Slice", "Split", "Upsample"})
"""What else may be done to an image before its channels come first."""
_CHANNELS = (1, 3, 4)
"""How many channels images come with."""
_WINDOWS = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool"})


@dataclass(frozen=True, slots=True)
class ChannelsFirst:
    """Works on files that transpose every copy of their image; others stay as they are."""

    def __call__(self, graph: ir.Graph) -> bool:
        """Bring the image of ``graph`` to ``[N, C, H, W]``."""
        image = graph.inputs[0]
        if image.shape is None or len(image.shape) != 4 or _has_channels_first(image.shape):
            return False
        arithmetic, transposes, others = _region(image)
        if not transposes or any(node.op_type in _WINDOWS for node in others):
            return False
        if others and image.shape[3] not in _CHANNELS:
            return False
        if others or any(value.is_graph_output() for node in (*arithmetic, *transposes) for value in node.outputs):
            _turn_back(graph, image)
        else:
            _turn(graph, arithmetic, transposes)
        image.shape = ir.Shape([image.shape[axis] for axis in _TO_CHANNELS_FIRST])
        return True


def _has_channels_first(shape: ir.Shape) -> bool:
    return shape[1] in _CHANNELS and shape[3] not in _CHANNELS


def _region(image: ir.Value) -> tuple[list[ir.Node], list[ir.Node], list[ir.Node]]:
    """Return what works on the image before a window does: arithmetic, transpositions, and anything else."""
    arithmetic: list[ir.Node] = []
    transposes: list[ir.Node] = []
    others: list[ir.Node] = []
    waiting = [image]
    for value in waiting:
        for node in value.consumers():
            if node in arithmetic or node in transposes or node in others:
                continue
            if node.op_type == "Transpose" and attribute(node, "perm") == _TO_CHANNELS_FIRST:
                transposes.append(node)
            elif node.op_type in _ARITHMETIC and _is_with_constants(node):
                arithmetic.append(node)
                waiting.append(node.outputs[0])
            else:
                others.append(node)
                waiting += node.outputs if node.op_type in _PREPROCESSING else []
    return arithmetic, transposes, others


def _is_with_constants(node: ir.Node) -> bool:
    stored = [value for value in node.inputs if value is not None and value.is_initializer()]
    return len(data_inputs_of(node)) == 1 and all(len(value.shape or ()) <= 4 for value in stored)


def _turn(graph: ir.Graph, arithmetic: list[ir.Node], transposes: list[ir.Node]) -> None:
    editor = Editor(graph)
    for node in arithmetic:
        _turn_constants(node, editor)
    for node in transposes:
        source = node.inputs[0]
        assert source is not None
        node.outputs[0].replace_all_uses_with(source)
        graph.remove(node, safe=True)


def _turn_back(graph: ir.Graph, image: ir.Value) -> None:
    """Give the file's first nodes the image as they expect it."""
    readers = image.uses()
    turned = Editor(graph).before(graph[0], "Transpose", [image], {"perm": _TO_CHANNELS_LAST})
    turned.metadata_props.clear()
    for node, index in readers:
        node.replace_input_with(index, turned.outputs[0])


def _turn_constants(node: ir.Node, editor: Editor) -> None:
    for index, value in enumerate(node.inputs):
        if value is None or not value.is_initializer() or value.const_value is None or value.const_value.size == 1:
            continue
        content = array_of(value)
        turned = content.reshape((1,) * (4 - content.ndim) + content.shape).transpose(_TO_CHANNELS_FIRST)
        copy = editor.constant(f"{name_of(value)}.channels_first", turned)
        copy.metadata_props.update(value.metadata_props)
        node.replace_input_with(index, copy)
