"""Layers that move numbers, and Reduction, which adds them up."""

from __future__ import annotations

import math

import numpy as np

from caffe_reference.net import Senseless


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise Senseless("there is no such axis")
    return axis + rank if axis < 0 else axis


def flatten(layer, bottoms, weights):
    p = layer.param("flatten_param")
    x = bottoms[0]
    first, last = _axis(p.one("axis", 1), x.ndim), _axis(p.one("end_axis", -1), x.ndim)
    if first > last:
        raise Senseless("the last axis is before the first")
    return [x.reshape(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])]


def reshape(layer, bottoms, weights):
    p = layer.param("reshape_param")
    x = bottoms[0]
    start, count = p.one("axis", 0), p.one("num_axes", -1)
    start = start + x.ndim + 1 if start < 0 else start  # -1 is behind the last axis
    end = x.ndim if count == -1 else start + count
    if end > x.ndim:
        raise Senseless("there are not so many axes")
    sizes = [int(size) for size in p.one("shape", {"dim": []})["dim"]]
    for i, size in enumerate(sizes):
        if size == 0:
            if start + i >= x.ndim:
                raise Senseless("there is no axis to copy")
            sizes[i] = x.shape[start + i]
    shape = [*x.shape[:start], *sizes, *x.shape[end:]]
    known = math.prod(size for size in shape if size != -1)
    is_whole = x.size % known == 0 and (-1 in shape or known == x.size)
    if not is_whole or shape.count(-1) > 1:
        raise Senseless("the counts differ")
    return [x.reshape(shape)]


def permute(layer, bottoms, weights):
    order = layer.param("permute_param").many("order")
    rest = [axis for axis in range(bottoms[0].ndim) if axis not in order]
    return [bottoms[0].transpose(*order, *rest)]


def shuffle(layer, bottoms, weights):
    """Channels as a table of groups x channels a group, read column by column."""
    x, group = bottoms[0], layer.param("shuffle_channel_param").one("group", 1)
    channels = x.shape[1]
    if channels % group:
        raise Senseless("the groups do not divide the channels")
    y = np.empty_like(x)
    for row in range(group):
        for column in range(channels // group):
            y[:, column * group + row] = x[:, row * (channels // group) + column]
    return [y]


def tile(layer, bottoms, weights):
    p = layer.param("tile_param")
    return [np.concatenate([bottoms[0]] * p.one("tiles", 1), p.one("axis", 1))]


def reduction(layer, bottoms, weights):
    """One number for everything from ``axis`` on: a sum of x, of its magnitudes or of its squares, or the mean."""
    p = layer.param("reduction_param")
    x = bottoms[0]
    axis = _axis(p.one("axis", 0), x.ndim)
    rows = x.reshape(*x.shape[:axis], -1)
    operation = p.one("operation", "SUM")
    rows = {"ASUM": np.abs, "SUMSQ": np.square}.get(operation, np.asarray)(rows)
    total = rows.sum(-1) * p.real("coeff", 1.0)
    return [total / rows.shape[-1] if operation == "MEAN" else total]


FORWARD = {
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "ShuffleChannel": shuffle,
    "Tile": tile,
    "Reduction": reduction,
}
