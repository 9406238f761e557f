"""What opsets 7 to the newest say differently from opset 18, by kind of difference."""

from trunkline.ingest.onnx_file.adapters import (
    activation,
    arithmetic,
    attention,
    blocks,
    casts,
    deform_conv,
    grid_sample,
    modes,
    normalisation,
    padding,
    pooling,
    resize,
    resize_axes,
    sequences,
    softmax,
    to_inputs,
)

__all__ = [
    "activation",
    "arithmetic",
    "attention",
    "blocks",
    "casts",
    "deform_conv",
    "grid_sample",
    "modes",
    "normalisation",
    "padding",
    "pooling",
    "resize",
    "resize_axes",
    "sequences",
    "softmax",
    "to_inputs",
]
