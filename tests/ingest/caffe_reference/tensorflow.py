"""Pad, ResizeBilinear and ResizeNearestNeighbor of the Synopsys fork, pixel by pixel, in its single precision."""

from __future__ import annotations

import math

import numpy as np

from caffe_reference.net import Param, Senseless


def pad(layer, bottoms, weights):
    p = layer.param("pad_param")
    ends = p.many("paddings")
    if len(ends) != 2 * bottoms[0].ndim:
        raise Senseless("two numbers an axis")
    pairs = [(ends[2 * axis], ends[2 * axis + 1]) for axis in range(bottoms[0].ndim)]
    return [np.pad(bottoms[0], pairs, constant_values=p.real("constant_values", 0.0))]


def bilinear(layer, bottoms, weights):
    p = layer.param("resize_bilinear_param")
    y = bottoms[0].astype(np.float64)
    for axis, target in _targets(p, y):
        y = _mixed(y, axis, [_place(p, i, target, y.shape[axis]) for i in range(target)])
    return [y]


def nearest(layer, bottoms, weights):
    p = layer.param("resize_nearest_neighbor_param")
    y = bottoms[0]
    for axis, target in _targets(p, y):
        y = y.take([_pixel(p, i, target, y.shape[axis]) for i in range(target)], axis)
    return [y]


def _targets(p: Param, x):
    """The two axes that are resized, and what to."""
    if p.one("align_corners", False) and p.one("half_pixel_centers", False):
        raise Senseless("one of the two")
    height, width = (1, 2) if p.one("data_format", "NHWC") == "NHWC" else (2, 3)
    for axis, side in ((height, "height"), (width, "width")):
        factor = np.float32(p.one(f"scale_{side}", 1.0))
        target = p.one(f"output_{side}", math.floor(np.float32(x.shape[axis]) * factor))
        if target < 1:
            raise Senseless("nothing is left")
        yield axis, target


def _scale(p: Param, target: int, size: int) -> np.float32:
    if p.one("align_corners", False) and target > 1:  # with one pixel there are no corners to align
        return np.float32(size - 1) / np.float32(target - 1)
    return np.float32(size) / np.float32(target)


def _place(p: Param, i: int, target: int, size: int) -> np.float32:
    scale = _scale(p, target, size)
    """Where output pixel ``i`` lies in the input."""
    if p.one("pytorch_half_pixel", False) and target == 1:
        return np.float32(-0.5)
    if p.one("half_pixel_centers", False) or p.one("pytorch_half_pixel", False):
        return (np.float32(i) + np.float32(0.5)) * scale - np.float32(0.5)
    return np.float32(i) * scale


def _pixel(p: Param, i: int, target: int, size: int) -> int:
    """The one pixel that output pixel ``i`` takes."""
    scale = _scale(p, target, size)
    if p.one("half_pixel_centers", False):
        return max(0, min(math.floor((np.float32(i) + np.float32(0.5)) * scale), size - 1))
    place = np.float32(i) * scale
    if p.one("align_corners", False):  # the nearest pixel here, the one before the place otherwise
        place = place + np.float32(0.5)
    return min(math.floor(place), size - 1)


def _mixed(x, axis: int, places):
    """Mix the two pixels beside each place; beyond the border there is the border's pixel alone."""
    low = [max(math.floor(place), 0) for place in places]
    high = [min(math.ceil(place), x.shape[axis] - 1) for place in places]
    part = np.array([float(place) - math.floor(place) for place in places])
    part = part.reshape(-1, *[1] * (x.ndim - axis - 1))
    return x.take(low, axis) * (1 - part) + x.take(high, axis) * part


FORWARD = {"Pad": pad, "ResizeBilinear": bilinear, "ResizeNearestNeighbor": nearest}
