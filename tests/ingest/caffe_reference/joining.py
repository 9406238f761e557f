"""Layers of several inputs or outputs."""

from __future__ import annotations

import numpy as np

from caffe_reference.net import Senseless


def eltwise(layer, bottoms, weights):
    """The sum with coefficients, the product, or the larger number, place by place."""
    p = layer.param("eltwise_param")
    operation = p.one("operation", "SUM")
    if any(x.shape != bottoms[0].shape for x in bottoms):
        raise Senseless("the inputs differ in shape")
    coeffs = p.reals("coeff") or [1.0] * len(bottoms)
    if operation == "SUM":
        return [sum(coeff * x for coeff, x in zip(coeffs, bottoms, strict=True))]
    return [{"PROD": np.multiply, "MAX": np.maximum}[operation].reduce(bottoms)]


def concat(layer, bottoms, weights):
    p = layer.param("concat_param")
    return [np.concatenate(bottoms, p.one("concat_dim", p.one("axis", 1)))]  # concat_dim is the older name


def cut(layer, bottoms, weights):
    p = layer.param("slice_param")
    x, axis = bottoms[0], p.one("slice_dim", p.one("axis", 1))
    points = p.many("slice_point")
    if not points and x.shape[axis] % len(layer.tops):
        raise Senseless("the axis does not divide evenly")
    if points and (sorted({*points}) != points or not 0 < points[0] <= points[-1] < x.shape[axis]):
        raise Senseless("the points do not cut the axis")
    return np.split(x, points or len(layer.tops), axis)


def split(layer, bottoms, weights):
    return [bottoms[0] for _ in layer.tops]


def axpy(layer, bottoms, weights):
    """a · x + y with one factor a for each image and channel."""
    a, x, y = bottoms
    return [a.reshape(*a.shape[:2], 1, 1) * x + y]


FORWARD = {"Eltwise": eltwise, "Concat": concat, "Slice": cut, "Split": split, "Silence": split, "Axpy": axpy}
