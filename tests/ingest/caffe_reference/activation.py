"""Functions of one number."""

from __future__ import annotations

import math

import numpy as np


def relu(layer, bottoms, weights):
    """max(x, 0) + slope · min(x, 0), then the Synopsys fork's bounds."""
    p = layer.param("relu_param")
    y = np.maximum(bottoms[0], 0) + p.real("negative_slope", 0.0) * np.minimum(bottoms[0], 0)
    if p.one("relu6", False):
        y = np.minimum(y, 6)
    if p.real("maximum", 0.0) > 0:  # 0, the default of both bounds, bounds nothing
        y = np.minimum(y, p.real("maximum", 0.0))
    if p.real("minimum", 0.0) != 0:
        y = np.maximum(y, p.real("minimum", 0.0))
    return [y]


def prelu(layer, bottoms, weights):
    x, slope = bottoms[0], weights["weight"]
    slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    return [np.maximum(x, 0) + slope * np.minimum(x, 0)]


def _prelu_blobs(layer, shapes):
    # Caffe keeps the one slope for all channels in a blob without axes.
    return {"weight": () if layer.param("prelu_param").one("channel_shared", False) else (shapes[0][1],)}


def elu(layer, bottoms, weights):
    alpha = layer.param("elu_param").real("alpha", 1.0)
    return [np.maximum(bottoms[0], 0) + alpha * (np.exp(np.minimum(bottoms[0], 0)) - 1)]


def sigmoid(x):
    """1 / (1 + exp(−x)), in a form that does not overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def bnll(layer, bottoms, weights):
    """log(1 + exp(x)), in a form that does not overflow."""
    x = bottoms[0]
    return [np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x)))]


def power(layer, bottoms, weights):
    p = layer.param("power_param")
    exponent, factor, shift = p.real("power", 1.0), p.real("scale", 1.0), p.real("shift", 0.0)
    if exponent * factor == 0:  # Caffe does not look at its input then; any number to the power of 0 is 1
        return [np.full_like(bottoms[0], 1.0 if exponent == 0 else np.float64(shift) ** exponent)]
    inner = factor * bottoms[0] + shift
    return [inner if exponent == 1 else inner**exponent]


def exp(layer, bottoms, weights):
    p = layer.param("exp_param")
    base, factor, shift = p.real("base", -1.0), p.real("scale", 1.0), p.real("shift", 0.0)
    log_base = 1.0 if base == -1 else math.log(base)  # -1 is Caffe's sign for e
    return [np.exp(log_base * (shift + factor * bottoms[0]))]


def log(layer, bottoms, weights):
    p = layer.param("log_param")
    base, factor, shift = p.real("base", -1.0), p.real("scale", 1.0), p.real("shift", 0.0)
    log_base = 1.0 if base == -1 else math.log(base)
    return [np.log(shift + factor * bottoms[0]) / log_base]


def swish(layer, bottoms, weights):
    return [bottoms[0] * sigmoid(layer.param("swish_param").real("beta", 1.0) * bottoms[0])]


def clip(layer, bottoms, weights):
    p = layer.param("clip_param")
    return [np.minimum(np.maximum(bottoms[0], p.real("min", 0)), p.real("max", 0))]


def threshold(layer, bottoms, weights):
    return [(bottoms[0] > layer.param("threshold_param").real("threshold", 0.0)).astype(np.float64)]


def dropout(layer, bottoms, weights):
    """The identity at TEST; a fork that does not scale in training multiplies by 1 − ratio here."""
    p = layer.param("dropout_param")
    return [bottoms[0] * (1.0 if p.one("scale_train", True) else 1 - p.real("dropout_ratio", 0.5))]


def _plain(function):
    return lambda layer, bottoms, weights: [function(bottoms[0])]


FORWARD = {
    "ReLU": relu,
    "PReLU": prelu,
    "ELU": elu,
    "BNLL": bnll,
    "Power": power,
    "Exp": exp,
    "Log": log,
    "Swish": swish,
    "Clip": clip,
    "Threshold": threshold,
    "Sigmoid": _plain(sigmoid),
    "TanH": _plain(np.tanh),
    "AbsVal": _plain(np.abs),
    "ReLU6": _plain(lambda x: np.clip(x, 0, 6)),
    "Dropout": dropout,
}
BLOBS = {"PReLU": _prelu_blobs}
