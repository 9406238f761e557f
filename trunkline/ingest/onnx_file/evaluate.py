"""Compute a node whose inputs are stored, with ONNX's own reference implementation."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from trunkline.errors import InvalidModel
from trunkline.graph.graph import OPSET, array_of, inputs_of, name_of
from trunkline.ingest.onnx_file.proto.operators import FOLDED, SUPPORTED

SHAPE_READERS = frozenset({"Shape", "Size"})
"""Operators that read the shape of their input, and not its content."""
_DRAWS = "Dropout"

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


def can_evaluate(node: ir.Node) -> bool:
    """Whether ``node`` can be computed now. Shape needs the shape of what it reads, not its content."""
    if node.op_type == _DRAWS:  # by chance, and otherwise each time
        return False
    if node.op_type not in SUPPORTED and node.op_type not in FOLDED:
        return False
    if node.op_type in SHAPE_READERS:
        return all(value.shape is not None and value.shape.is_static() for value in inputs_of(node))
    return all(value.const_value is not None for value in inputs_of(node))


def evaluate(node: ir.Node) -> list[Array]:
    """Return what ``node`` computes from its stored inputs, output by output.

    Raises:
        InvalidModel: The computation fails, or divides by zero.
    """
    proto = ir.serde.serialize_node(node)
    feeds = {name_of(value): _content(node, value) for value in inputs_of(node)}
    try:
        # Left alone, numpy would warn of a division by zero and go on.
        with np.errstate(divide="raise", invalid="raise", over="ignore"):
            outputs = ReferenceEvaluator(proto, opsets={"": OPSET}).run(None, feeds)
    except (ValueError, IndexError, TypeError, ArithmeticError, RuntimeError, AttributeError, LookupError) as error:
        text = f"{node.op_type} of constants cannot be computed: {(str(error).splitlines() or [''])[0]}"
        raise InvalidModel(text, place=name_of(node)) from error
    return [np.asarray(output) for output in outputs]


def _content(node: ir.Node, value: ir.Value) -> Array:
    """Return what ``value`` holds; for an operator that looks at its shape alone, nothing that takes memory."""
    if node.op_type not in SHAPE_READERS:
        return array_of(value)
    assert value.shape is not None
    return np.broadcast_to(np.float32(0), value.shape.numpy())
