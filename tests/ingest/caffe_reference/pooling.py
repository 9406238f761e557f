"""Pooling, window by window in Caffe's integers, and the unpooling that reads its mask."""

from __future__ import annotations

import numpy as np

from caffe_reference.net import Param, Senseless


def _pair(p: Param, name: str, short: str, default: int) -> tuple[int, int]:
    if p.has(f"{short}_h"):
        return p.one(f"{short}_h", 0), p.one(f"{short}_w", 0)
    return p.one(name, default), p.one(name, default)


def _rounds_up(p: Param) -> bool:
    if p.has("round_mode"):
        return p.one("round_mode", "CEIL") in ("CEIL", 0)
    return bool(p.one("ceil_mode", True))


def _count(size: int, kernel: int, stride: int, pad: int, up: bool, any_pad: bool) -> int:
    """How many windows fit along one axis."""
    steps = size + 2 * pad - kernel
    if steps < 0:
        raise Senseless("the window is larger than its padded input")
    count = (steps + stride - 1) // stride + 1 if up else steps // stride + 1
    if any_pad and (count - 1) * stride >= size + pad:
        count -= 1
    if (count - 1) * stride - pad >= size:
        raise Senseless("the last window is empty")
    return count


def pool(layer, bottoms, weights):
    p = layer.param("pooling_param")
    x = bottoms[0]
    n, c, h, w = x.shape
    kernel, stride, pad = (
        _pair(p, "kernel_size", "kernel", 0),
        _pair(p, "stride", "stride", 1),
        _pair(p, "pad", "pad", 0),
    )
    if p.one("global_pooling", False):
        kernel = (h, w)
    if any(q and q >= k for q, k in zip(pad, kernel, strict=True)):
        raise Senseless("the padding is as large as the window")
    up, padded = _rounds_up(p), any(pad)
    rows, columns = (_count(*one, up, padded) for one in zip((h, w), kernel, stride, pad, strict=True))
    y, mask = np.zeros((n, c, rows, columns)), np.zeros((n, c, rows, columns))
    average = p.one("pool", "MAX") == "AVE"
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
            limit = (h + pad[0], w + pad[1]) if average else (h, w)
            bottom, right = min(top + kernel[0], limit[0]), min(left + kernel[1], limit[1])
            area = (bottom - top) * (right - left)
            top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, h), min(right, w)
            cells = x[:, :, top:bottom, left:right]
            if average:
                y[:, :, i, j] = cells.sum((2, 3)) / area
                continue
            y[:, :, i, j] = cells.max((2, 3))
            best = cells.reshape(n, c, -1).argmax(2)
            mask[:, :, i, j] = (top + best // (right - left)) * w + left + best % (right - left)
    return [y, mask][: len(layer.tops)]


FORWARD = {"Pooling": pool}
