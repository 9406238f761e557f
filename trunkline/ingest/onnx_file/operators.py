"""The operators an ONNX file may hold, each with the newest version whose meaning has been checked.

ONNX revises operators one by one; ``since_version`` names a revision. A revision newer than the one noted here
is refused by name, because it may mean something that opset 18 cannot say. To add an operator: note its newest
revision here, and where revisions below or above 18 differ from 18's, give it an adapter in ``adapters/``.
"""

from __future__ import annotations

from collections.abc import Mapping

SUPPORTED: Mapping[str, int] = {
    "Add": 14,
    "AveragePool": 22,
    "BatchNormalization": 15,
    "Clip": 13,
    "Concat": 13,
    "Conv": 22,
    "ConvTranspose": 22,
    "DepthToSpace": 28,
    "Div": 14,
    "Dropout": 22,
    "Elu": 22,
    "Flatten": 25,
    "Gemm": 13,
    "GlobalAveragePool": 22,
    "GlobalMaxPool": 22,
    "HardSigmoid": 22,
    "HardSwish": 22,
    "Identity": 25,
    "LRN": 13,
    "LeakyRelu": 16,
    "LogSoftmax": 13,
    "MatMul": 13,
    "Max": 13,
    "MaxPool": 22,
    "Min": 13,
    "Mul": 14,
    "PRelu": 16,
    "Pad": 25,
    "ReduceMean": 18,
    "Relu": 14,
    "Reshape": 25,
    "Resize": 19,
    "Sigmoid": 13,
    "Slice": 13,
    "Softmax": 13,
    "SpaceToDepth": 28,
    "Split": 18,
    "Squeeze": 25,
    "Sub": 14,
    "Sum": 13,
    "Tanh": 13,
    "Transpose": 25,
    "Unsqueeze": 25,
    "Upsample": 9,
}
"""Operators that may stay in the Graph, except Upsample, which becomes Resize."""

FOLDED: Mapping[str, int] = {
    "Abs": 13,
    "And": 7,
    "Cast": 28,
    "Ceil": 13,
    "Constant": 25,
    "ConstantOfShape": 25,
    "Equal": 19,
    "Exp": 13,
    "Expand": 13,
    "Floor": 13,
    "Gather": 13,
    "Greater": 13,
    "Less": 13,
    "Log": 13,
    "Mod": 13,
    "Neg": 13,
    "Not": 1,
    "Or": 7,
    "Pow": 15,
    "Range": 27,
    "Reciprocal": 13,
    "ReduceMax": 20,
    "ReduceMin": 20,
    "ReduceProd": 18,
    "ReduceSum": 13,
    "Round": 22,
    "Shape": 25,
    "Size": 25,
    "Sqrt": 13,
    "Tile": 13,
    "Where": 16,
}
"""Operators that are welcome where they compute sizes or constants, and are gone once the file is read."""

EVALUATED = frozenset(FOLDED) | {
    *("Add", "Concat", "Div", "Flatten", "Identity", "Max", "Min", "Mul", "ReduceMean", "Reshape", "Slice"),
    *("Squeeze", "Sub", "Sum", "Transpose", "Unsqueeze"),
}
"""Operators that are computed while reading when all they read is stored."""

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})

_KINDS: Mapping[str, str] = {
    "Sequence": "sequences are not supported",
    "Optional": "optional values are not supported",
    "Quantize": "quantised models are not supported; give the float model",
    "Dequantize": "quantised models are not supported; give the float model",
    "DynamicQuantize": "quantised models are not supported; give the float model",
    "QLinear": "quantised models are not supported; give the float model",
    "ConvInteger": "quantised models are not supported; give the float model",
    "MatMulInteger": "quantised models are not supported; give the float model",
}


def known(op: str) -> int | None:
    """Return the newest checked revision of an operator, or ``None`` for one that is not supported."""
    return SUPPORTED.get(op, FOLDED.get(op))


def why_not(op: str, domain: str) -> str:
    """Return the reason an operator is not supported, in a few words."""
    if domain:
        return f"operators of the domain {domain!r} are not supported"
    if op in CONTROL_FLOW:
        return "control flow is not supported: the network must be the same for every image"
    return next((text for prefix, text in _KINDS.items() if op.startswith(prefix)), "this operator is not supported")


def supported_text() -> str:
    """Return the sentence that lists what is supported."""
    return "supported operators: " + ", ".join(sorted(SUPPORTED))
