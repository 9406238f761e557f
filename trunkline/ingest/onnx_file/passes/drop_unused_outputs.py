"""Drop optional outputs: Dropout's mask, the statistics of normalisations, MaxPool's indices."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.errors import Problem, UnsupportedOp
from trunkline.graph.computed_weights import comes_of_image
from trunkline.graph.graph import name_of
from trunkline.graph.passes.editor import is_read, put

_NEVER_READ = {
    "BatchNormalization": "running statistics as outputs (the file was saved in training mode)",
    "Dropout": "the mask",
}
_OPTIONAL = frozenset(_NEVER_READ) | {"LayerNormalization", "MaxPool"}


@dataclass(frozen=True, slots=True)
class DropUnusedOutputs:
    """Leaves one output on each of these operators, unless MaxPool's indices or a layer's statistics are read.

    Raises:
        UnsupportedOp: Something reads a mask, or the statistics of a batch.
    """

    def __call__(self, graph: ir.Graph) -> int:
        """Drop the optional outputs of ``graph``, and return how many nodes had some."""
        several = [node for node in graph if node.op_type in _OPTIONAL and len(node.outputs) > 1]
        read = [node for node in several if any(map(is_read, node.outputs[1:]))]
        if problems := [_problem(node) for node in read if node.op_type in _NEVER_READ]:
            raise UnsupportedOp(problems)
        unread = [node for node in several if node not in read]
        for node in unread:
            _note_training(node)
            node.resize_outputs(1)
        return len(unread)


def _note_training(node: ir.Node) -> None:
    """Mark the normalisation of a weight that was saved in training mode: its batch is the weight's own."""
    # Before opset 14, more outputs were the only sign of training mode. Old exporters leave them on what reads an
    # image too, so there they are no sign.
    data = node.inputs[0] if node.inputs else None
    if node.op_type == "BatchNormalization" and data is not None and not comes_of_image(data):
        put(node, "training_mode", 1)


def _problem(node: ir.Node) -> Problem:
    text = f"{node.op_type}: {_NEVER_READ[node.op_type]} cannot be read by other nodes"
    return Problem(text, place=name_of(node), advice="export the model for inference: model.eval()")
