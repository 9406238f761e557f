"""Which operators are looked at, and why the others are not. Together they are all that have generated cases."""

from __future__ import annotations

from collections.abc import Mapping

CHOSEN: Mapping[str, tuple[str, ...]] = {
    "convolution": ("Conv", "ConvTranspose", "DeformConv"),
    "pooling": (*("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool", "MaxUnpool"),),
    "normalisation": (
        *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization"),
        *("LpNormalization", "MeanVarianceNormalization", "RMSNormalization"),
    ),
    "activation": (
        *(
            "Celu",
            "Clip",
            "Elu",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "LogSoftmax",
            "Mish",
            "PRelu",
            "Relu",
        ),
        *("Selu", "Shrink", "Sigmoid", "Softmax", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu"),
    ),
    "resampling": ("GridSample", "Resize", "Upsample"),
    "elementwise": (
        *("Abs", "Add", "Ceil", "Cos", "Div", "Erf", "Exp", "Floor", "Log", "Max", "Mean", "Min", "Mod", "Mul", "Neg"),
        *("Pow", "Reciprocal", "Round", "Sign", "Sin", "Sqrt", "Sub", "Sum", "Where"),
    ),
    "reduction": (
        *("ArgMax", "ArgMin", "CumSum", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
        *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
    ),
    "matrix product": ("Attention", "Einsum", "Gemm", "MatMul"),
    "shape": (
        *("CenterCropPad", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND"),
        *("Identity", "Pad", "Reshape", "ScatterElements", "ScatterND", "Slice", "SpaceToDepth", "Split", "Squeeze"),
        *("Tile", "Transpose", "Unsqueeze"),
    ),
    "comparison": (*("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Xor"),),
    "trigonometry": ("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan"),
    "other": ("Cast", "Dropout"),
}
"""By family: what networks of convolutions are made of."""

EXCLUDED: Mapping[str, tuple[str, ...]] = {
    "gives sizes or constants, which are folded while reading": (
        *("Constant", "ConstantOfShape", "EyeLike", "Range", "Shape", "Size"),
    ),
    "computes on bits, or looks for numbers that are none": (
        *("BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "IsInf", "IsNaN"),
    ),
    "quantised or of integers": (
        *("ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
        "QuantizeLinear",
    ),
    "control flow, sequences and optional values": (
        *("If", "Loop", "OptionalGetElement", "OptionalHasElement", "Scan"),
    ),
    "recurrence, and attention that keeps a state": (
        *("CausalConvWithState", "GRU", "LSTM", "LinearAttention", "RNN"),
        *("ReverseSequence", "RotaryEmbedding", "SwiGLU", "TensorScatter", "Trilu"),
    ),
    "detection after the network: its sizes depend on the image's content": (
        *("Compress", "NonMaxSuppression", "NonZero", "OneHot", "RoiAlign", "TopK", "Unique"),
    ),
    "signals, images and text before the network": (
        *("BlackmanWindow", "DFT", "HammingWindow", "HannWindow", "ImageDecoder", "MelWeightMatrix", "STFT"),
        *("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"),
    ),
    "losses, optimisers and random numbers": (*("Bernoulli", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"),),
    "mathematics that no network of convolutions was seen with": (
        *("AffineGrid", "CastLike", "Col2Im", "CumProd", "Det", "Hardmax", "Scatter"),
    ),
}
"""By reason: operators with generated cases that are not looked at."""


def chosen() -> list[str]:
    """Return the names of the operators looked at, family by family."""
    return [name for names in CHOSEN.values() for name in names]
