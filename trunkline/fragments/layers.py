"""Layers that heads and joins are written with."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Attribute, shape_of

Rectifier = Literal["relu", "relu6"]
"""A ReLU, or one that ends at 6, as in MobileNetV2."""


def convolution(
    builder: GraphBuilder,
    x: ir.Value,
    name: str,
    channels: int,
    *,
    kernel: int = 1,
    dilation: int = 1,
    group: int = 1,
    bias: bool = True,
) -> ir.Value:
    """Add a size-keeping convolution with weight ``<name>.weight`` and, with ``bias``, ``<name>.bias``.

    >>> builder = GraphBuilder("head")
    >>> x = builder.image("features", (64, 8, 8))
    >>> shape_of(convolution(builder, x, "conv", 10, kernel=3, dilation=2))
    (None, 10, 8, 8)
    """
    depth = int(shape_of(x)[1] or 0) // group
    weight = builder.weight(f"{name}.weight", (channels, depth, kernel, kernel), Filler("msra"))
    inputs = [x, weight]
    if bias:
        inputs.append(builder.weight(f"{name}.bias", (channels,), Filler("constant", 0.0)))
    # Half the window's extent less one: with an odd kernel the size stays, whatever the dilation.
    pad = dilation * (kernel - 1) // 2
    attributes: dict[str, Attribute] = {
        "kernel_shape": [kernel, kernel],
        "strides": [1, 1],
        "pads": [pad] * 4,
        "dilations": [dilation, dilation],
        "group": group,
    }
    return builder.node("Conv", inputs, name=name, attributes=attributes)


def batch_norm(
    builder: GraphBuilder, x: ir.Value, name: str, *, bias: float = 0.0, epsilon: float = 1e-5, momentum: float = 0.9
) -> ir.Value:
    """Add a BatchNormalization with weights ``<name>.scale``, ``.bias`` and statistics ``.mean``, ``.var``.

    The scale starts at 1, the bias at ``bias``. ``momentum`` is ONNX's: the part of the old statistics that stays.
    """
    shape = (int(shape_of(x)[1] or 0),)
    starts = {"scale": 1.0, "bias": bias, "mean": 0.0, "var": 1.0}
    weights = [builder.weight(f"{name}.{key}", shape, Filler("constant", value)) for key, value in starts.items()]
    attributes: dict[str, Attribute] = {"epsilon": epsilon, "momentum": momentum, "training_mode": 0}
    return builder.node("BatchNormalization", [x, *weights], name=name, attributes=attributes)


def normalised(
    builder: GraphBuilder,
    x: ir.Value,
    name: str,
    channels: int,
    *,
    kernel: int = 1,
    dilation: int = 1,
    depthwise: bool = False,
    rectifier: Rectifier = "relu",
) -> ir.Value:
    """Add a convolution, BatchNormalization and ReLU, or what ``rectifier`` says.

    With ``depthwise``, a depthwise convolution of this kernel and dilation comes first, and the convolution itself
    is 1×1: an atrous separable convolution (Chen et al. 2018, Sec. 3.1).
    """
    if depthwise:
        alone = int(shape_of(x)[1] or 0)
        x = convolution(builder, x, f"{name}.depth", alone, kernel=kernel, dilation=dilation, group=alone, bias=False)
        x = rectified(builder, batch_norm(builder, x, f"{name}.depth.norm"), f"{name}.depth.relu", rectifier)
        # The depthwise convolution has looked around; what follows only mixes channels.
        kernel = dilation = 1
    # The normalisation behind it has a bias of its own.
    x = convolution(builder, x, name, channels, kernel=kernel, dilation=dilation, bias=False)
    return rectified(builder, batch_norm(builder, x, f"{name}.norm"), f"{name}.relu", rectifier)


def rectified(builder: GraphBuilder, x: ir.Value, name: str, rectifier: Rectifier = "relu") -> ir.Value:
    """Add a ReLU, or a ReLU6 as the Clip that it is in every file."""
    if rectifier == "relu":
        return builder.node("Relu", [x], name=name)
    bounds = {"min": 0.0, "max": 6.0}
    limits = [builder.tensor(f"{name}.{key}", np.array(bound, np.float32)) for key, bound in bounds.items()]
    return builder.node("Clip", [x, *limits], name=name)


def resized(
    builder: GraphBuilder, x: ir.Value, size: tuple[int, int], name: str, mode: Literal["nearest", "linear"]
) -> ir.Value:
    """Resize a map to ``size`` (height, width); one of this size is returned as it is."""
    before = shape_of(x)
    if before[2:] == size:
        return x
    attributes: dict[str, Attribute] = {"mode": mode, "coordinate_transformation_mode": "half_pixel"}
    if mode == "nearest":
        attributes |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    factors = [new / (old or 1) for new, old in zip(size, before[2:], strict=True)]
    if all(factor.is_integer() for factor in factors):
        scales = builder.tensor(f"{name}.scales", np.array([1, 1, *factors], dtype=np.float32))
        return builder.node("Resize", [x, None, scales], name=name, attributes=attributes)
    # A scale that is no whole number could round to another size: name the size, without the batch's.
    sizes = builder.tensor(f"{name}.sizes", np.array(size, dtype=np.int64))
    return builder.node("Resize", [x, None, None, sizes], name=name, attributes={**attributes, "axes": [2, 3]})
