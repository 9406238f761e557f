"""Finish freeing the batch: fold the constants that are made once, and drop the Reshapes that are not needed."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import inputs_of, name_of, shape_of
from trunkline.graph.passes.eliminate_identity import eliminate
from trunkline.graph.roles import may_train
from trunkline.ingest.onnx_file.batch.freeing import Freeing
from trunkline.ingest.onnx_file.batch.spread import VIEWS
from trunkline.ingest.onnx_file.passes.fold_constants import ConstantFolder
from trunkline.limits import Budget


def settle(graph: ir.Graph, state: Freeing, budget: Budget) -> None:
    """Let what is the same for every image be there once, and be stored where it can be.

    Raises:
        InvalidModel: An output is the same for every image, or numbers them.
    """
    for value in graph.outputs:
        _check_output(value, state)
    for value in state.alike:
        # Up to here N marked the axis along which they are repeated; what is the same for every image has none.
        sizes = [size or 1 for size in shape_of(value)]
        value.shape = ir.Shape(sizes)
    folder = ConstantFolder(state.editor, budget)
    for node in list(graph):
        if node.outputs[0] in state.alike or node in state.editor.added:
            _store(graph, node, folder)
    for node in state.joints:
        _skip(graph, node)


def _store(graph: ir.Graph, node: ir.Node, folder: ConstantFolder) -> None:
    """Store what ``node`` computes from stored tensors; a weight is only moved, and stays what it is."""
    if any(not value.is_initializer() for value in inputs_of(node)):
        return
    source = node.inputs[0]
    may_be_idle = node.op_type in ("Expand", "Reshape", "Tile")
    if may_be_idle and source is not None and source.shape == node.outputs[0].shape:
        eliminate(graph, node)
    elif node.op_type in VIEWS or not any(may_train(value) for value in inputs_of(node)):
        folder.fold(node)


def _skip(graph: ir.Graph, node: ir.Node) -> None:
    """Remove a Reshape that gives what it reads, or what a Reshape before it was given."""
    source = node.inputs[0]
    while source is not None and source.shape != node.outputs[0].shape:
        before = source.producer()
        if before is None or before.op_type != "Reshape":
            return
        source = before.inputs[0]
    node.replace_input_with(0, source)
    eliminate(graph, node)


def _check_output(value: ir.Value, state: Freeing) -> None:
    if value in state.alike or value in state.numbered:
        text = "the output does not depend on the image: a constant is repeated for each image of the batch"
        raise InvalidModel(text, place=name_of(value), advice="name the values that do with --features")
