"""The padding of a window: Caffe's, and the four sides and SAME of the Synopsys fork."""

from __future__ import annotations

import math

from caffe_reference.net import Param, Senseless

Ends = tuple[tuple[int, int], tuple[int, int]]
"""(Above, below) and (left, right)."""


def sides(p: Param, sizes, kernel, stride, dilation=(1, 1)) -> Ends:
    """What a file adds around a plane of ``sizes``."""
    four = [p.one(name, 0) for name in ("pad_t", "pad_b", "pad_l", "pad_r")]
    if any(four):  # the fork reads them only where one of them is not 0
        return (four[0], four[1]), (four[2], four[3])
    if p.one("pad_type", 0) == 1:
        if tuple(dilation) != (1, 1):
            raise Senseless("SAME counts the kernel without its holes")
        high, wide = (_same(*axis) for axis in zip(sizes, kernel, stride, strict=True))
        return high, wide
    if p.has("pad_h"):
        return (p.one("pad_h", 0),) * 2, (p.one("pad_w", 0),) * 2
    given = p.many("pad") or [0]
    return (given[0], given[0]), (given[-1], given[-1])


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME, as the fork spells it: by the rest that the stride leaves."""
    rest = size % stride
    total = max(0, kernel - (rest if rest else stride))
    return total // 2, math.ceil(total / 2)
