"""InnerProduct: everything from an axis on is one vector."""

from __future__ import annotations

import math

import numpy as np


def _axis(layer, rank: int) -> int:
    axis = layer.param("inner_product_param").one("axis", 1)
    return axis + rank if axis < 0 else axis


def inner_product(layer, bottoms, weights):
    """One product for each position before the axis, added up one column at a time."""
    x = bottoms[0]
    axis = _axis(layer, x.ndim)
    rows = x.reshape(math.prod(x.shape[:axis]), -1)
    matrix = weights["weight"]
    if not layer.param("inner_product_param").one("transpose", False):  # stored as [num_output, K]
        matrix = matrix.T
    y = np.zeros((rows.shape[0], matrix.shape[1]))
    for k in range(matrix.shape[0]):
        y += rows[:, k : k + 1] * matrix[k]
    if "bias" in weights:
        y += weights["bias"]
    return [y.reshape(*x.shape[:axis], matrix.shape[1])]


def _blobs(layer, shapes):
    p = layer.param("inner_product_param")
    length, outputs = math.prod(shapes[0][_axis(layer, len(shapes[0])) :]), p.one("num_output", 0)
    blobs = {"weight": (length, outputs) if p.one("transpose", False) else (outputs, length)}
    return {**blobs, "bias": (outputs,)} if p.one("bias_term", True) else blobs


FORWARD = {"InnerProduct": inner_product}
BLOBS = {"InnerProduct": _blobs}
