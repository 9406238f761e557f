"""Filler blocks → how a weight starts."""

from __future__ import annotations

from typing import Literal

import numpy as np

from trunkline.graph.fillers import Filler
from trunkline.ingest.prototxt.text.fields import Fields
from trunkline.ingest.prototxt.text.guess import guess
from trunkline.text import quoted

MSRA = Filler("msra")
ZERO = Filler("constant", 0.0)
ONE = Filler("constant", 1.0)

_KINDS = ("constant", "gaussian", "uniform", "xavier", "msra", "bilinear")
# In the order of Caffe's enum VarianceNorm, whose numbers a file may give.
_FANS: dict[str, Literal["in", "out", "average"]] = {"FAN_IN": "in", "FAN_OUT": "out", "AVERAGE": "average"}


def filler(owner: Fields, name: str, default: Filler) -> Filler:
    """Return the filler that the block ``name`` of a layer's parameters describes, or the default.

    Caffe's own default for weights, constant 0, cannot train; that is why the caller gives another. A filler
    only matters to a fresh start, so one that is not known here is noted and replaced.
    """
    if not owner.has(name):
        return default
    block = owner.block(name)
    block.tolerate("how the weights start")
    kind = block.string("type", "constant").lower()
    value, mean, std = block.number("value", 0.0), block.number("mean", 0.0), block.number("std", 1.0)
    low, high = block.number("min", 0.0), block.number("max", 1.0)
    fan = _FANS[block.choice("variance_norm", tuple(_FANS), "FAN_IN")]
    match kind:
        case "constant":
            return Filler("constant", value)
        case "gaussian":
            if mean:
                block.note(f"a gaussian filler with mean {mean:g} is not kept: fresh weights have mean 0 here")
            return Filler("gaussian", std)
        case "uniform":
            if low != -high:
                block.note(f"a uniform filler from {low:g} to {high:g} is not kept: it is symmetric here")
            return Filler("uniform", max(abs(low), abs(high)))
        case "xavier":
            return Filler("xavier", fan=fan)
        case "msra":
            return Filler("msra", fan=fan)
    meant = guess(kind, _KINDS)
    # "bilinear" is spelt right, but only a convolution's weight can start so: see is_bilinear.
    if meant and kind != "bilinear":
        block.error("type", f"there is no filler {quoted(kind)}", meant)
    block.note(f"filler {quoted(kind)} is not kept here: fresh weights start as {default.kind} instead")
    return default


def is_bilinear(owner: Fields) -> bool:
    """Whether the weights are to start as bilinear up-sampling."""
    return owner.has("weight_filler") and owner.block("weight_filler").string("type") == "bilinear"


def bilinear(shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return ``[C, M, k, k]`` kernels of bilinear interpolation (Long et al. 2015, section 3.3).

    Each kernel is the outer product of the triangle 1 − abs(i / f − c), f = ⌈k / 2⌉, c = (2f − 1 − f mod 2) / 2f.
    """
    f = (shape[3] + 1) // 2
    centre = (2 * f - 1 - f % 2) / (2 * f)
    row = 1 - np.abs(np.arange(shape[3]) / f - centre)
    return np.broadcast_to(np.outer(row, row), shape).astype(np.float32)
