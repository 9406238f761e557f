"""Layers that heads are written with."""

from __future__ import annotations

import onnx_ir as ir

from trunkline.ingest.builder import Attribute, GraphBuilder
from trunkline.ingest.fillers import Filler
from trunkline.ingest.graph import shape_of


def convolution(
    builder: GraphBuilder,
    x: ir.Value,
    name: str,
    channels: int,
    *,
    kernel: int = 1,
    dilation: int = 1,
    bias: bool = True,
) -> ir.Value:
    """Add a size-keeping convolution with weight ``<name>.weight`` and, if asked, ``<name>.bias``."""
    weight = builder.weight(f"{name}.weight", (channels, int(shape_of(x)[1] or 0), kernel, kernel), Filler("msra"))
    inputs = [x, weight]
    if bias:
        inputs.append(builder.weight(f"{name}.bias", (channels,), Filler("constant", 0.0)))
    pad = dilation * (kernel - 1) // 2
    attributes: dict[str, Attribute] = {
        "kernel_shape": [kernel, kernel],
        "strides": [1, 1],
        "pads": [pad] * 4,
        "dilations": [dilation, dilation],
        "group": 1,
    }
    return builder.node("Conv", inputs, name=name, attributes=attributes)


def batch_norm(builder: GraphBuilder, x: ir.Value, name: str) -> ir.Value:
    """Add a BatchNormalization with weights ``<name>.scale``, ``.bias`` and statistics ``.mean``, ``.var``."""
    shape = (int(shape_of(x)[1] or 0),)
    starts = {"scale": 1.0, "bias": 0.0, "mean": 0.0, "var": 1.0}
    weights = [builder.weight(f"{name}.{key}", shape, Filler("constant", value)) for key, value in starts.items()]
    attributes: dict[str, Attribute] = {"epsilon": 1e-5, "momentum": 0.9, "training_mode": 0}
    return builder.node("BatchNormalization", [x, *weights], name=name, attributes=attributes)
