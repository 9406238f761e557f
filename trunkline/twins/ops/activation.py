"""Activations: one data input, one output of the same shape."""

from __future__ import annotations

from functools import partial
from typing import cast

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.graph.graph import array_of, attribute
from trunkline.twins.op import Op, unsupported_setting
from trunkline.twins.ops.common.static_inputs import input_at, is_stored, static_number
from trunkline.twins.registry import register


@register("Relu")
def relu(node: ir.Node) -> Op:
    """Return max(x, 0)."""
    return Op(F.relu)


@register("LeakyRelu")
def leaky_relu(node: ir.Node) -> Op:
    """Return x, or below zero ``alpha`` · x."""
    return Op(partial(F.leaky_relu, negative_slope=attribute(node, "alpha", 0.01)))


@register("PRelu")
def prelu(node: ir.Node) -> Op:
    """Inputs: data, learned slope, which broadcasts as in numpy."""
    return Op(_prelu)


@register("Clip")
def clip(node: ir.Node) -> Op:
    """Inputs: data, lower and upper bound. Stored bounds are fixed here, computed ones are read each time."""
    return Op(partial(_clip, low=_stored_bound(node, 1), high=_stored_bound(node, 2)))


@register("Sigmoid")
def sigmoid(node: ir.Node) -> Op:
    """Return 1 / (1 + exp(−x))."""
    return Op(torch.sigmoid)


@register("Tanh")
def tanh(node: ir.Node) -> Op:
    """Hyperbolic tangent."""
    return Op(torch.tanh)


@register("Elu")
def elu(node: ir.Node) -> Op:
    """Return ``alpha`` · (exp(x) − 1) below zero."""
    return Op(partial(F.elu, alpha=attribute(node, "alpha", 1.0)))


@register("Celu")
def celu(node: ir.Node) -> Op:
    """Return ``alpha`` · (exp(x / ``alpha``) − 1) below zero (Barron 2017)."""
    alpha = attribute(node, "alpha", 1.0)
    if alpha == 0:
        raise unsupported_setting(node, "alpha 0", "it divides by alpha; Relu is what is left of it")
    return Op(partial(F.celu, alpha=alpha))


@register("Selu")
def selu(node: ir.Node) -> Op:
    """Scaled Elu; the defaults are those of Klambauer et al. 2017."""
    alpha = attribute(node, "alpha", 1.67326319217681884765625)
    return Op(partial(_selu, alpha=alpha, gamma=attribute(node, "gamma", 1.05070102214813232421875)))


@register("ThresholdedRelu")
def thresholded_relu(node: ir.Node) -> Op:
    """Return x above ``alpha``, else 0."""
    return Op(partial(F.threshold, threshold=attribute(node, "alpha", 1.0), value=0.0))


@register("Shrink")
def shrink(node: ir.Node) -> Op:
    """Return x moved by ``bias`` towards 0 where it is further than ``lambd`` from it, else 0."""
    return Op(partial(_shrink, threshold=attribute(node, "lambd", 0.5), bias=attribute(node, "bias", 0.0)))


@register("HardSigmoid")
def hard_sigmoid(node: ir.Node) -> Op:
    """Return ``alpha`` · x + ``beta``, clipped to [0, 1]."""
    return Op(partial(_hard_sigmoid, alpha=attribute(node, "alpha", 0.2), beta=attribute(node, "beta", 0.5)))


@register("HardSwish")
def hard_swish(node: ir.Node) -> Op:
    """Return x · clip(x / 6 + 1/2, 0, 1)."""
    return Op(F.hardswish)


@register("Softplus")
def softplus(node: ir.Node) -> Op:
    """Return log(1 + exp(x)); from the threshold on the difference to x is below double precision."""
    # torch's own threshold of 20 would be 2e-9 off, which parity in double precision sees.
    return Op(partial(F.softplus, threshold=40.0))


@register("Softsign")
def softsign(node: ir.Node) -> Op:
    """Return x / (1 + |x|)."""
    return Op(F.softsign)


@register("Mish")
def mish(node: ir.Node) -> Op:
    """Return x · tanh(softplus(x))."""
    return Op(F.mish)


@register("Softmax")
def softmax(node: ir.Node) -> Op:
    """Softmax over one axis."""
    # ONNX's default is -1 since opset 13; files before that are rewritten by the reader's adapters.
    return Op(partial(torch.softmax, dim=attribute(node, "axis", -1)))


@register("LogSoftmax")
def log_softmax(node: ir.Node) -> Op:
    """Logarithm of the softmax over one axis."""
    return Op(partial(torch.log_softmax, dim=attribute(node, "axis", -1)))


@register("Hardmax")
def hardmax(node: ir.Node) -> Op:
    """1 at the first maximum along one axis, else 0; it has no gradient."""
    return Op(partial(_hardmax, axis=attribute(node, "axis", -1)))


def _stored_bound(node: ir.Node, index: int) -> float | int | None:
    """Return the one number in a stored bound; ``None`` where there is none, or where it is computed.

    Raises:
        UnsupportedOp: It holds several numbers.
    """
    value = input_at(node, index)
    if value is None or not is_stored(node, index):
        return None
    bound = array_of(value)
    if bound.size == 0:
        return None
    if bound.size > 1:
        return static_number(node, index, 0.0)
    # An integer stays one: clamping integers by a float would change their type.
    return cast("float | int", bound.item())


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    # F.prelu takes one slope, or one a channel; ONNX's slope broadcasts.
    return torch.where(x < 0, slope * x, x)


def _clip(x: Tensor, *bounds: Tensor | None, low: float | None, high: float | None) -> Tensor:
    # Absent inputs at the end may be left out. A static bound is fixed in `low` or `high`, and its input is None.
    computed_low, computed_high = (*bounds, None, None)[:2]
    # The upper bound comes last, as in ONNX's Min(max, Max(x, min)): it wins where the bounds are crossed.
    x = _at_least(x, computed_low if low is None else low)
    return _at_most(x, computed_high if high is None else high)


def _at_least(x: Tensor, bound: Tensor | float | None) -> Tensor:
    return x if bound is None else x.clamp(min=bound)


def _at_most(x: Tensor, bound: Tensor | float | None) -> Tensor:
    return x if bound is None else x.clamp(max=bound)


def _selu(x: Tensor, *, alpha: float, gamma: float) -> Tensor:
    # F.selu has the paper's numbers built in; in ONNX they are attributes.
    return gamma * F.elu(x, alpha)


def _shrink(x: Tensor, *, threshold: float, bias: float) -> Tensor:
    below = torch.where(x < -threshold, x + bias, torch.zeros_like(x))
    return torch.where(x > threshold, x - bias, below)


def _hardmax(x: Tensor, *, axis: int) -> Tensor:
    # argmax gives the first of several maxima, which is the one that ONNX marks.
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)


def _hard_sigmoid(x: Tensor, *, alpha: float, beta: float) -> Tensor:
    # F.hardsigmoid has the slope 1/6 built in.
    return (alpha * x + beta).clamp(0.0, 1.0)
