"""Refuse the operators on sizes and constants that folding could not remove."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.errors import Problem, UnsupportedOp
from trunkline.graph.graph import inputs_of, name_of
from trunkline.ingest.onnx_file.batch.second_batch import SecondBatch
from trunkline.ingest.onnx_file.proto.operators import SUPPORTED


def refuse_leftovers(graph: ir.Graph, second: SecondBatch | None = None) -> None:
    """Check that all operators that are read for sizes and constants only were folded.

    Args:
        graph: What has been read so far.
        second: Given while the batch is not free yet: constants as large as the batch may still be computed then.

    Raises:
        UnsupportedOp: Some work on what is computed from the image; all of them are named.
    """
    text = "works on sizes and constants only; here it works on what is computed from the image"
    left = [node for node in graph if node.op_type not in SUPPORTED]
    if left and second is not None:
        from_image = _computed_from_image(graph)
        left = [node for node in left if not from_image.isdisjoint(inputs_of(node))]
    problems = [Problem(f"{node.op_type}: {text}", name_of(node)) for node in left]
    if problems:
        raise UnsupportedOp(problems)


def _computed_from_image(graph: ir.Graph) -> set[ir.Value]:
    found = set(graph.inputs)
    for node in graph:
        if not found.isdisjoint(inputs_of(node)):
            found.update(node.outputs)
    return found
