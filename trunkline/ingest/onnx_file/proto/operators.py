"""The operators an ONNX file may hold, each with the newest version whose meaning has been checked.

ONNX revises operators one by one; ``since_version`` names a revision. A revision newer than the one noted here
is refused by name, because it may mean something that opset 18 cannot express. To add an operator: note its newest
revision here, and where revisions below or above 18 differ from 18's, give it an adapter in ``adapters/``.
"""

from __future__ import annotations

from collections.abc import Mapping

SUPPORTED: Mapping[str, int] = {
    "Abs": 13,
    "Acos": 22,
    "Acosh": 22,
    "Add": 14,
    "And": 7,
    "ArgMax": 13,
    "ArgMin": 13,
    "Asin": 22,
    "Asinh": 22,
    "Atan": 22,
    "Atanh": 22,
    "Attention": 25,
    "AveragePool": 22,
    "BatchNormalization": 15,
    "Cast": 28,
    "Ceil": 13,
    "Celu": 28,
    "CenterCropPad": 18,
    "Clip": 13,
    "Concat": 13,
    "Conv": 22,
    "ConvTranspose": 22,
    "Cos": 22,
    "Cosh": 22,
    "CumSum": 14,
    "DeformConv": 22,
    "DepthToSpace": 28,
    "Div": 14,
    "Dropout": 22,
    "Einsum": 28,
    "Elu": 22,
    "Equal": 19,
    "Erf": 13,
    "Exp": 13,
    "Expand": 13,
    "Flatten": 25,
    "Floor": 13,
    "Gather": 13,
    "GatherElements": 13,
    "GatherND": 13,
    "Gelu": 20,
    "Gemm": 13,
    "GlobalAveragePool": 22,
    "GlobalLpPool": 22,
    "GlobalMaxPool": 22,
    "Greater": 13,
    "GreaterOrEqual": 16,
    "GridSample": 22,
    "GroupNormalization": 21,
    "HardSigmoid": 22,
    "HardSwish": 22,
    "Hardmax": 13,
    "Identity": 25,
    "InstanceNormalization": 22,
    "LRN": 13,
    "LayerNormalization": 17,
    "LeakyRelu": 16,
    "Less": 13,
    "LessOrEqual": 16,
    "Log": 13,
    "LogSoftmax": 13,
    "LpNormalization": 22,
    "LpPool": 22,
    "MatMul": 13,
    "Max": 13,
    "MaxPool": 22,
    "MaxUnpool": 22,
    "Mean": 13,
    "MeanVarianceNormalization": 13,
    "Min": 13,
    "Mish": 22,
    "Mod": 28,
    "Mul": 14,
    "Neg": 13,
    "Not": 1,
    "Or": 7,
    "PRelu": 16,
    "Pad": 25,
    "Pow": 15,
    "RMSNormalization": 23,
    "Reciprocal": 13,
    "ReduceL1": 18,
    "ReduceL2": 18,
    "ReduceLogSum": 28,
    "ReduceLogSumExp": 28,
    "ReduceMax": 20,
    "ReduceMean": 18,
    "ReduceMin": 20,
    "ReduceProd": 18,
    "ReduceSum": 13,
    "ReduceSumSquare": 18,
    "Relu": 14,
    "Reshape": 25,
    "Resize": 19,
    "Round": 22,
    "ScatterElements": 18,
    "ScatterND": 18,
    "Selu": 22,
    "Shrink": 9,
    "Sigmoid": 13,
    "Sign": 13,
    "Sin": 22,
    "Sinh": 22,
    "Slice": 13,
    "Softmax": 13,
    "Softplus": 22,
    "Softsign": 22,
    "SpaceToDepth": 28,
    "Split": 18,
    "Sqrt": 13,
    "Squeeze": 25,
    "Sub": 14,
    "Sum": 13,
    "Swish": 24,
    "Tan": 22,
    "Tanh": 13,
    "ThresholdedRelu": 22,
    "Tile": 13,
    "Transpose": 25,
    "Unsqueeze": 25,
    "Upsample": 9,
    "Where": 16,
    "Xor": 7,
}
"""Operators that may stay in the Graph, except those that adapters write in others, such as Upsample and Attention."""

FOLDED: Mapping[str, int] = {
    "CastLike": 28,
    "Constant": 25,
    "ConstantOfShape": 25,
    "DequantizeLinear": 28,
    "QuantizeLinear": 28,
    "Range": 27,
    "SequenceAt": 11,
    "Shape": 25,
    "Size": 25,
    "SplitToSequence": 24,
}
"""Operators that are read only where they compute sizes or constants, and are gone once the file is read."""

WITHDRAWN_AT = 10
WITHDRAWN: Mapping[str, Mapping[str, str]] = {
    "Affine": {"alpha": "FLOAT", "beta": "FLOAT"},
    "Crop": {"border": "INTS", "scale": "INTS"},
    "ImageScaler": {"bias": "FLOATS", "scale": "FLOAT"},
    "ParametricSoftplus": {"alpha": "FLOAT", "beta": "FLOAT"},
    "Scale": {"scale": "FLOAT"},
    "ScaledTanh": {"alpha": "FLOAT", "beta": "FLOAT"},
}
"""Operators that files of opsets below :data:`WITHDRAWN_AT` may hold, by name: the attributes that each takes."""

EVALUATED = frozenset(FOLDED) | {
    *("Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil"),
    *("Clip", "Concat", "Cos", "Cosh", "CumSum", "Div", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather"),
    *("Greater", "GreaterOrEqual", "HardSigmoid", "Identity", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min"),
    *("Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum"),
    *("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu"),
    *("Reshape", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "Softmax", "Softplus", "Split", "Sqrt"),
    *("Squeeze", "Sub", "Sum", "Tan", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where", "Xor"),
}
"""Operators that numpy computes on whole tensors. The others are computed number by number, so only while few."""


def known(op: str) -> int | None:
    """Return the newest checked revision of an operator, or ``None`` for one that is not supported."""
    return SUPPORTED.get(op, FOLDED.get(op))


def supported_text() -> str:
    """Return the sentence that lists what is supported."""
    return "supported operators: " + ", ".join(sorted(SUPPORTED))
