"""Pooling, window by window in Caffe's integers, and the unpooling that reads its mask."""

from __future__ import annotations

import numpy as np

from caffe_reference.net import Param, Senseless
from caffe_reference.sides import sides


def _pair(p: Param, name: str, short: str, default: int) -> tuple[int, int]:
    if p.has(f"{short}_h"):
        return p.one(f"{short}_h", 0), p.one(f"{short}_w", 0)
    return p.one(name, default), p.one(name, default)


def _rounds_up(p: Param) -> bool:
    if p.has("round_mode"):
        return p.one("round_mode", "CEIL") in ("CEIL", 0)
    return bool(p.one("ceil_mode", True))


def _count(size: int, kernel: int, stride: int, ends: tuple[int, int], up: bool, any_pad: bool) -> int:
    """How many windows Caffe has along one axis."""
    pad, steps = ends[0], size + sum(ends) - kernel
    if steps < 0:
        raise Senseless("the window is larger than its padded input")
    count = (steps + stride - 1) // stride + 1 if up else steps // stride + 1
    if any_pad and (count - 1) * stride >= size + pad:  # Caffe drops it only where the layer is padded
        count -= 1
    if (count - 1) * stride - pad >= size:
        raise Senseless("the last window is empty")
    return count


def pool(layer, bottoms, weights):
    """The largest or the mean of each window, and as second top the place of the largest in its plane."""
    p = layer.param("pooling_param")
    x = bottoms[0]
    n, c, h, w = x.shape
    kernel, stride = _pair(p, "kernel_size", "kernel", 0), _pair(p, "stride", "stride", 1)
    if p.one("global_pooling", False):
        kernel = (h, w)
    ends = sides(p, (h, w), kernel, stride)
    pad = (ends[0][0], ends[1][0])
    if any(max(q) and max(q) >= k for q, k in zip(ends, kernel, strict=True)):
        raise Senseless("the padding is as large as the window")
    is_same = p.one("pad_type", 0) == 1
    up, padded = _rounds_up(p) and not is_same, any(map(any, ends)) and not is_same
    rows, columns = (_count(*one, up, padded) for one in zip((h, w), kernel, stride, ends, strict=True))
    if is_same and (rows, columns) != (-(-h // stride[0]), -(-w // stride[1])):
        raise Senseless("SAME has one window a stride")
    y, mask = np.zeros((n, c, rows, columns)), np.zeros((n, c, rows, columns))
    average, of_pixels = p.one("pool", "MAX") == "AVE", p.one("pool", "MAX") in ("AVE_EXC_PAD", "AVE_TF", 3)
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
            # AVE divides by the part of a window within the padding; AVE_EXC_PAD and MAX see pixels alone.
            limit = (h + ends[0][1], w + ends[1][1]) if average else (h, w)
            bottom, right = min(top + kernel[0], limit[0]), min(left + kernel[1], limit[1])
            area = (bottom - top) * (right - left)
            top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, h), min(right, w)
            cells = x[:, :, top:bottom, left:right]
            if of_pixels:
                y[:, :, i, j] = cells.mean((2, 3))
                continue
            if average:
                y[:, :, i, j] = cells.sum((2, 3)) / area
                continue
            y[:, :, i, j] = cells.max((2, 3))
            # Of equal numbers the first counts, row by row, as in Caffe's loop.
            best = cells.reshape(n, c, -1).argmax(2)
            mask[:, :, i, j] = (top + best // (right - left)) * w + left + best % (right - left)
    return [y, mask][: len(layer.tops)]


FORWARD = {"Pooling": pool}
