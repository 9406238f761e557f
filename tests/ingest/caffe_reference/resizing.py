"""Crop, Interp and Upsample."""

from __future__ import annotations

import numpy as np

from caffe_reference.net import Senseless


def crop(layer, bottoms, weights):
    """The part of the first bottom that has the size of the second, axis by axis."""
    p = layer.param("crop_param")
    x, like = bottoms
    axis = p.one("axis", 2)
    axis = axis + x.ndim if axis < 0 else axis
    offsets = p.many("offset") or [0]
    if len(offsets) > 1 and axis + len(offsets) != x.ndim:
        raise Senseless("one offset, or one for each axis")
    for i in range(axis, x.ndim):
        start = offsets[0] if len(offsets) == 1 else offsets[i - axis]
        if x.shape[i] - start < like.shape[i]:
            raise Senseless("the crop reaches over the edge")
        x = x.take(np.arange(start, start + like.shape[i]), i)
    return [x]


def interp(layer, bottoms, weights):
    """Bilinear with the corners aligned, after cropping by the (negative) padding."""
    p = layer.param("interp_param")
    before, after = p.one("pad_beg", 0), p.one("pad_end", 0)
    if before > 0 or after > 0:
        raise Senseless("only cropping")
    x = bottoms[0][:, :, -before : bottoms[0].shape[2] + after, -before : bottoms[0].shape[3] + after]
    if min(x.shape[2:]) < 1:
        raise Senseless("nothing is left")
    if len(bottoms) > 1:
        sizes = list(bottoms[1].shape[2:])
    elif p.has("height"):
        sizes = [p.one("height", 0), p.one("width", 0)]
    else:
        # Corners are aligned, so it is the n − 1 distances between pixels that shrink and zoom.
        sizes = [(size - 1) // p.one("shrink_factor", 1) + 1 for size in x.shape[2:]]
        sizes = [size + (size - 1) * (p.one("zoom_factor", 1) - 1) for size in sizes]
    return [_lines(_lines(x, 2, sizes[0]), 3, sizes[1])]


def _lines(x, axis: int, size: int):
    """Interpolate along one axis to ``size`` pixels, the first and the last staying in place."""
    old = x.shape[axis]
    places = np.arange(size) * ((old - 1) / (size - 1) if size > 1 else 0.0)
    low = np.minimum(places.astype(int), old - 1)
    high = np.minimum(low + 1, old - 1)
    part = (places - low).reshape(-1, *[1] * (x.ndim - axis - 1))
    return x.take(low, axis) * (1 - part) + x.take(high, axis) * part


def padding(layer, bottoms, weights):
    """A border of zeros, or one cut away."""
    p = layer.param("padding_param")
    before, after = p.one("pad_beg", 0), p.one("pad_end", 0)
    x = bottoms[0][:, :, max(-before, 0) :, max(-before, 0) :]
    x = x[:, :, : x.shape[2] + min(after, 0), : x.shape[3] + min(after, 0)]
    if before * after < 0 or min(x.shape[2:]) < 1:
        raise Senseless("nothing is left, or one end is padded and the other cut")
    sides = (max(before, 0), max(after, 0))
    return [np.pad(x, ((0, 0), (0, 0), sides, sides))]


def upsample(layer, bottoms, weights):
    """Every number repeated; with a mask, every number at its place in the mask, and zeros around it."""
    p = layer.param("upsample_param")
    x = bottoms[0]
    n, c, h, w = x.shape
    factors = [p.one("scale_h", p.one("scale", 2)), p.one("scale_w", p.one("scale", 2))]
    if len(bottoms) == 1:
        return [x.repeat(factors[0], 2).repeat(factors[1], 3)]
    sizes = [h * factors[0] - int(p.one("pad_out_h", False)), w * factors[1] - int(p.one("pad_out_w", False))]
    if p.has("upsample_h"):
        sizes = [p.one("upsample_h", 0), p.one("upsample_w", 0)]
    places = bottoms[1].astype(int).reshape(n, c, -1)
    if places.max(initial=0) >= sizes[0] * sizes[1]:
        raise Senseless("the mask points outside")
    y = np.zeros((n, c, sizes[0] * sizes[1]))
    for i in range(n):
        for j in range(c):
            for place, value in zip(places[i, j], x[i, j].ravel(), strict=True):
                y[i, j, place] = value
    return [y.reshape(n, c, *sizes)]


FORWARD = {"Crop": crop, "Interp": interp, "Padding": padding, "Upsample": upsample}
