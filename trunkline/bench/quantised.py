"""Whether models compute in 8-bit integers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from trunkline.graph.graph import Graph

_MARKS = ("QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinear")
"""How the operators begin that make 8-bit integers or compute with them, also those of onnxruntime alone."""


def is_quantised(models: Sequence[Path | Graph]) -> bool | None:
    """Return whether any of the models makes 8-bit integers; ``None`` where none does, and one cannot be read.

    Weights that are stored in 8 bits and computed with in float32 (DequantizeLinear alone) do not count.
    """
    operators = [_operators(model) for model in models]
    if any(operator.startswith(_MARKS) for each in operators if each for operator in each):
        return True
    return None if None in operators else False


def _operators(model: Path | Graph) -> set[str] | None:
    if isinstance(model, Graph):
        return {node.op_type for node in model.nodes}
    try:
        proto = onnx.load(model, load_external_data=False)
    # protobuf's error has another base in each of its implementations. torch runs prototxts too.
    except Exception:
        return None
    return {node.op_type for node in proto.graph.node}
