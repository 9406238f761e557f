"""Slice: parts of a tensor by static positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import onnx_ir as ir
from torch import Tensor

from trunkline.twins.op import Op
from trunkline.twins.ops.common.static_inputs import rank_of, static_ints
from trunkline.twins.registry import register

_TO_THE_END = (2**31 - 1, 2**63 - 1)
"""Ends that mean "as far as it goes"; onnxruntime takes them so in both directions."""


@dataclass(frozen=True, slots=True)
class AxisSlice:
    """One axis of a Slice, as ONNX writes it: ``start`` and ``end`` may be negative or beyond the axis."""

    axis: int
    start: int
    end: int
    step: int


@register("Slice")
def slice_(node: ir.Node) -> Op:
    """Inputs: data, starts, ends, axes, steps."""
    starts, ends = static_ints(node, 1) or [], static_ints(node, 2) or []
    # ONNX: without axes the cuts are of the first ones, in order; without steps every element is taken.
    axes = static_ints(node, 3) or list(range(len(starts)))
    steps = static_ints(node, 4) or [1] * len(starts)
    rank = rank_of(node)
    cuts = [AxisSlice(axis % rank, *rest) for axis, *rest in zip(axes, starts, ends, steps, strict=True)]
    return Op(partial(_slice, cuts=tuple(cuts)))


def _slice(x: Tensor, *_static: Tensor | None, cuts: tuple[AxisSlice, ...]) -> Tensor:
    for cut in cuts:
        x = _cut(x, cut)
    return x


def _cut(x: Tensor, cut: AxisSlice) -> Tensor:
    """Torch has no negative steps: cut the same pixels forwards, then flip."""
    start, stop = _bounds(cut, x.shape[cut.axis])
    # Rounded up for steps of either sign: a last, shorter step still gives an element.
    count = max(0, -((start - stop) // cut.step))
    if cut.step > 0:
        return x[_along(cut.axis, slice(start, start + count * cut.step, cut.step))]
    # Without elements `first` would lie before the axis, where Python counts from its end.
    first = start + (count - 1) * cut.step
    pixels = slice(first, start + 1, -cut.step) if count else slice(0, 0)
    return x[_along(cut.axis, pixels)].flip(cut.axis)


def _bounds(cut: AxisSlice, size: int) -> tuple[int, int]:
    """Return the first pixel and the one past the last, clamped by ONNX's rules.

    They are not quite Python's: going backwards, a start before the axis is its first pixel.
    """
    start = cut.start + size if cut.start < 0 else cut.start
    stop = cut.end + size if cut.end < 0 else cut.end
    if cut.step > 0:
        return min(max(start, 0), size), min(max(stop, 0), size)
    # Going backwards, "as far as it goes" is past the first pixel.
    if cut.end in _TO_THE_END:
        stop = -1
    return min(max(start, 0), size - 1), min(max(stop, -1), size - 1)


def _along(axis: int, pixels: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, pixels)
