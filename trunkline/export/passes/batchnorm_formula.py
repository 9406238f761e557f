"""The weight and bias that do the work of a linear node and the BatchNormalization behind it.

At inference BN is a per-channel affine map, and Conv, ConvTranspose and Gemm are linear in weight and bias, so
(Ioffe & Szegedy 2015, §3.1, with running statistics):

    s = γ / √(σ² + ε),   W' = s · W,   b' = s · (b − μ) + β.

The arithmetic is float64; the result is rounded once, to the weight's type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.graph.graph import array_of, attribute, name_of
from trunkline.graph.passes.editor import input_at

Array = np.ndarray[Any, np.dtype[Any]]
Folded = tuple[Array, Array]
"""The weight and bias that do the work of a :class:`Pair`."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A linear node and the BatchNormalization that alone reads it."""

    linear: ir.Node
    norm: ir.Node

    @property
    def key(self) -> tuple[object, ...]:
        """What the folded weight and bias depend on; equal keys share them."""
        stored = [*list(self.linear.inputs)[1:3], *list(self.norm.inputs)[1:5]]
        names = tuple("" if value is None else name_of(value) for value in stored)
        settings = tuple(attribute(self.linear, name) for name in ("group", "transB", "beta"))
        return self.linear.op_type, len(self.linear.inputs), *names, *settings, attribute(self.norm, "epsilon")


def fold_pair(pair: Pair) -> Folded | str:
    """Return the folded weight and bias, or why there are none: they must be finite numbers of the weight's type."""
    gamma, beta, mean, variance = (array_of(stored_at(pair.norm, index)).astype(np.float64) for index in range(1, 5))
    weight = array_of(stored_at(pair.linear, 1))
    spread = variance + float(attribute(pair.norm, "epsilon", 1e-5))
    if not np.all(spread > 0):
        return "its variance plus epsilon is not positive everywhere"
    scale = gamma / np.sqrt(spread)
    with np.errstate(over="ignore", invalid="ignore"):
        folded_weight = (weight.astype(np.float64) * _aligned(scale, pair.linear, weight.shape)).astype(weight.dtype)
        folded_bias = (scale * (_bias(pair.linear, mean.size) - mean) + beta).astype(weight.dtype)
    if not np.isfinite(folded_weight).all() or not np.isfinite(folded_bias).all():
        return f"the folded weight or bias would not be finite as {weight.dtype}"
    return folded_weight, folded_bias


def stored_at(node: ir.Node, index: int) -> ir.Value:
    """Return an input that is known to be there."""
    value = input_at(node, index)
    assert value is not None
    return value


def _bias(linear: ir.Node, channels: int) -> Array:
    """Return the bias as float64 ``[channels]``, with Gemm's factor on it applied."""
    bias = input_at(linear, 2)
    if bias is None:
        return np.zeros(channels)
    factor = float(attribute(linear, "beta", 1.0)) if linear.op_type == "Gemm" else 1.0
    return np.broadcast_to(array_of(bias).astype(np.float64).reshape(-1) * factor, (channels,))


def _aligned(scale: Array, linear: ir.Node, shape: Sequence[int]) -> Array:
    """Return ``scale`` shaped to multiply the weight along its output channels.

    Conv has weights ``[M, C/g, …]``, Gemm ``[K, M]`` or (``transB``) ``[M, K]``. ConvTranspose has ``[C, M/g, …]``:
    its input channel c belongs to group c // (C/g), whose outputs are the channels from group · M/g on.
    """
    rest = (1,) * (len(shape) - 2)
    if linear.op_type == "Conv":
        return scale.reshape(-1, 1, *rest)
    if linear.op_type == "Gemm":
        return scale.reshape(-1, 1) if attribute(linear, "transB", 0) else scale.reshape(1, -1)
    groups = int(attribute(linear, "group", 1))
    return np.repeat(scale.reshape(groups, -1), shape[0] // groups, axis=0).reshape(shape[0], shape[1], *rest)
