"""Everything that divides by a spread: BatchNorm and its forks, LRN, MVN, SSD's Normalize."""

from __future__ import annotations

import numpy as np


def _channels(values, x):
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def batch_norm(layer, bottoms, weights):
    """The stored sums divided by their stored weight; Caffe's own layer learns no scale and no bias."""
    x, eps = bottoms[0], layer.param("batch_norm_param").real("eps", 1e-5)
    factor = weights["factor"].item()
    factor = 0 if factor == 0 else 1 / factor  # 0: no image was seen
    mean, var = _channels(weights["mean"] * factor, x), _channels(weights["var"] * factor, x)
    return [(x - mean) / np.sqrt(var + eps)]


def _batch_norm_blobs(layer, shapes):
    return {"mean": (shapes[0][1],), "var": (shapes[0][1],), "factor": (1,)}


def _folded(layer) -> bool:
    return layer.param("bn_param").one("bn_mode", None) == "INFERENCE"


def bn(layer, bottoms, weights):
    """SegNet's inference form holds the folded scale and shift alone; PSPNet's keeps the statistics."""
    x = bottoms[0]
    if not _folded(layer):
        eps = layer.param("bn_param").real("eps", 1e-5)
        x = (x - _channels(weights["mean"], x)) / np.sqrt(_channels(weights["var"], x) + eps)
    return [x * _channels(weights["scale"], x) + _channels(weights["bias"], x)]


def _bn_blobs(layer, shapes):
    roles = ("scale", "bias") if _folded(layer) else ("scale", "bias", "mean", "var")
    return dict.fromkeys(roles, (shapes[0][1],))


def lrn(layer, bottoms, weights):
    """x / (k + alpha · mean of squares)^beta, over neighbouring channels or neighbouring pixels."""
    p = layer.param("lrn_param")
    x, size = bottoms[0], p.one("local_size", 5)
    alpha, beta, k = p.real("alpha", 1.0), p.real("beta", 0.75), p.real("k", 1.0)
    before = (size - 1) // 2
    if p.one("norm_region", "ACROSS_CHANNELS") == "WITHIN_CHANNEL":
        # Caffe builds this form from other layers, and puts 1 in place of k.
        return [x * (1 + alpha * _local_mean(x * x, size, before)) ** -beta]
    n, c, h, w = x.shape
    squares = np.zeros((n, c + size - 1, h, w))
    squares[:, before : before + c] = x * x
    scale = np.full_like(x, k)
    for i in range(c):
        scale[:, i] += alpha / size * squares[:, i : i + size].sum(1)
    return [x * scale**-beta]


def _local_mean(x, size: int, pad: int):
    """The sum over a square window of the padded plane, divided by the whole window."""
    n, c, h, w = x.shape
    padded = np.zeros((n, c, h + 2 * pad, w + 2 * pad))
    padded[:, :, pad : pad + h, pad : pad + w] = x
    y = np.zeros_like(x)
    for i in range(h):
        for j in range(w):
            y[:, :, i, j] = padded[:, :, i : i + size, j : j + size].sum((2, 3)) / size**2
    return y


def mvn(layer, bottoms, weights):
    """x less its mean, over its deviation, per channel or per image."""
    p = layer.param("mvn_param")
    x = bottoms[0]
    axes = tuple(range(1 if p.one("across_channels", False) else 2, x.ndim))
    x = x - x.mean(axes, keepdims=True)
    if not p.one("normalize_variance", True):
        return [x]
    return [x / _root((x * x).mean(axes, keepdims=True), p.real("eps", 1e-9), p.one("add_eps_before_sqrt", False))]


def _root(squares, eps: float, before: bool):
    return np.sqrt(squares + eps) if before else np.sqrt(squares) + eps


def normalize(layer, bottoms, weights):
    """x over the root of its sum of squares, times a learned factor."""
    p = layer.param("norm_param")
    x = bottoms[0]
    axes = tuple(range(1, x.ndim)) if p.one("across_spatial", True) else (1,)
    # The Synopsys fork reads add_eps_before_sqrt only where it sums over whole images.
    before = len(axes) == 1 or p.one("add_eps_before_sqrt", True)
    norm = _root((x * x).sum(axes, keepdims=True), p.real("eps", 1e-10), before)
    return [x / norm * _channels(weights["weight"], x)]


def _normalize_blobs(layer, shapes):
    return {"weight": () if layer.param("norm_param").one("channel_shared", True) else (shapes[0][1],)}


def softmax(layer, bottoms, weights):
    x, axis = bottoms[0], layer.param("softmax_param").one("axis", 1)
    powers = np.exp(x - x.max(axis, keepdims=True))
    return [powers / powers.sum(axis, keepdims=True)]


FORWARD = {
    "BatchNorm": batch_norm,
    "BN": bn,
    "LRN": lrn,
    "MVN": mvn,
    "Normalize": normalize,
    "Softmax": softmax,
}
BLOBS = {"BatchNorm": _batch_norm_blobs, "BN": _bn_blobs, "Normalize": _normalize_blobs}
