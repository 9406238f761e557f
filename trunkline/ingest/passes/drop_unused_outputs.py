"""Drop optional outputs: Dropout's mask, BatchNormalization's statistics, MaxPool's indices."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from trunkline.errors import Problem, UnsupportedOp
from trunkline.ingest.graph import name_of

_OPTIONAL = {
    "BatchNormalization": "running statistics as outputs (the file was saved in training mode)",
    "Dropout": "the mask",
    "MaxPool": "the indices of the maxima",
}


@dataclass(frozen=True, slots=True)
class DropUnusedOutputs:
    """Leaves one output on each of these operators.

    Raises:
        UnsupportedOp: Something reads one of the others.
    """

    def __call__(self, graph: ir.Graph) -> bool:
        """Drop the optional outputs of ``graph``."""
        nodes = [node for node in graph if node.op_type in _OPTIONAL and len(node.outputs) > 1]
        problems = [_problem(node) for node in nodes if any(map(_is_read, node.outputs[1:]))]
        if problems:
            raise UnsupportedOp(problems)
        for node in nodes:
            node.resize_outputs(1)
        return bool(nodes)


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _problem(node: ir.Node) -> Problem:
    text = f"{node.op_type}: {_OPTIONAL[node.op_type]} cannot be read by other nodes"
    return Problem(text, place=name_of(node), advice="export the model for inference: model.eval()")
