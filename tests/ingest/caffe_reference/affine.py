"""Scale and Bias: a blob of some of the axes, repeated over the others."""

from __future__ import annotations

import math

from caffe_reference.net import Param, Senseless


def _start(p: Param, rank: int) -> int:
    axis = p.one("axis", 1)
    return axis + rank if axis < 0 else axis


def _learned(p: Param, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a blob from ``axis`` on over ``num_axes`` axes; -1 is all of them."""
    start, count = _start(p, len(shape)), p.one("num_axes", 1)
    if count >= 0 and start + count > len(shape):
        raise Senseless("the blob extends past its input")
    return shape[start:] if count == -1 else shape[start : start + count]


def _spread(blob, x, axis: int):
    """``blob`` repeated over the axes before ``axis`` and after its own."""
    if blob.ndim == 0:
        return blob
    if x.shape[axis : axis + blob.ndim] != blob.shape:
        raise Senseless("the blob does not match its input")
    # Caffe's own view of the input: what is before the blob's axes, they themselves, and what is after them.
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + blob.ndim :])
    return (blob.reshape(1, -1, 1) + 0 * x.reshape(outer, -1, inner)).reshape(x.shape)


def scale(layer, bottoms, weights):
    p = layer.param("scale_param")
    x = bottoms[0]
    factor = bottoms[1] if len(bottoms) > 1 else weights["weight"]
    axis = _start(p, x.ndim)
    y = x * _spread(factor, x, axis)
    return [y + _spread(weights["bias"], x, axis) if "bias" in weights else y]


def bias(layer, bottoms, weights):
    x = bottoms[0]
    term = bottoms[1] if len(bottoms) > 1 else weights["bias"]
    return [x + _spread(term, x, _start(layer.param("bias_param"), x.ndim))]


def _scale_blobs(layer, shapes):
    p = layer.param("scale_param")
    if len(shapes) > 1 and p.one("bias_term", False):
        raise Senseless("the learned bias would have a batch axis")
    blobs = {}
    if len(shapes) == 1:  # with two bottoms the factor is computed, not learned
        blobs["weight"] = _learned(p, shapes[0])
        if p.one("bias_term", False):
            blobs["bias"] = blobs["weight"]
    return blobs


def _bias_blobs(layer, shapes):
    return {} if len(shapes) > 1 else {"bias": _learned(layer.param("bias_param"), shapes[0])}


FORWARD = {"Scale": scale, "Bias": bias}
BLOBS = {"Scale": _scale_blobs, "Bias": _bias_blobs}
