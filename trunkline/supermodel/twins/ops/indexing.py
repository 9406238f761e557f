"""Operators that pick parts of a tensor by static position, and Pad, which adds some."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import Tensor

from trunkline.ingest.graph import array_of, attribute
from trunkline.supermodel.twins.registry import Op, refuse, register
from trunkline.supermodel.twins.settings import input_at, ints, number, rank_of
from trunkline.supermodel.twins.window import torch_pads

_TORCH_MODE = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}

_TO_THE_END = (2**31 - 1, 2**63 - 1)
"""Ends that mean "as far as it goes"; onnxruntime takes them so in both directions."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One axis of a Slice, as ONNX writes it: ``start`` and ``end`` may be negative or beyond the axis."""

    axis: int
    start: int
    end: int
    step: int


@register("Slice")
def slice_(node: ir.Node) -> Op:
    """Inputs: data, starts, ends, axes, steps."""
    starts, ends = ints(node, 1) or [], ints(node, 2) or []
    axes = ints(node, 3) or list(range(len(starts)))
    steps = ints(node, 4) or [1] * len(starts)
    rank = rank_of(node)
    cuts = [Cut(axis % rank, *rest) for axis, *rest in zip(axes, starts, ends, steps, strict=True)]
    return Op(partial(_slice, cuts=tuple(cuts)))


@register("Gather")
def gather(node: ir.Node) -> Op:
    """Inputs: data, stored integer indices."""
    indices = input_at(node, 1)
    if indices is None or not indices.is_initializer():
        raise refuse(node, "computed indices")
    array = array_of(indices)
    settings = {"indices": tuple(int(i) for i in array.ravel()), "shape": array.shape}
    return Op(partial(_gather, axis=attribute(node, "axis", 0) % rank_of(node), **settings))


@register("Pad")
def pad(node: ir.Node) -> Op:
    """Inputs: data, pads, value, axes. Modes ``constant``, ``reflect`` and ``edge``."""
    mode = attribute(node, "mode", "constant")
    if mode not in _TORCH_MODE:
        raise refuse(node, f"mode {mode!r}", f"supported modes: {', '.join(_TORCH_MODE)}")
    begins, ends = _all_pads(node)
    if mode != "constant":
        _check_spatial(node, mode, begins, ends)
        begins, ends = begins[2:], ends[2:]
    pads, value = tuple(torch_pads(begins, ends)), number(node, 2, 0.0)
    return Op(partial(_pad, pads=pads, mode=_TORCH_MODE[mode], value=value))


def _all_pads(node: ir.Node) -> tuple[list[int], list[int]]:
    rank = rank_of(node)
    axes = ints(node, 3) or list(range(rank))
    pads = ints(node, 1) or []
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[i], pads[i + len(axes)]
    return begins, ends


def _check_spatial(node: ir.Node, mode: str, begins: list[int], ends: list[int]) -> None:
    if any(begins[:2]) or any(ends[:2]) or not 3 <= len(begins) <= 5:
        raise refuse(node, f"mode {mode!r} on the batch or channel axis", "only spatial axes can be padded that way")
    if min(begins + ends) < 0:
        raise refuse(node, f"mode {mode!r} and negative pads", "cut with Slice instead")


def _slice(x: Tensor, *_static: Tensor | None, cuts: tuple[Cut, ...]) -> Tensor:
    for cut in cuts:
        x = _cut(x, cut)
    return x


def _cut(x: Tensor, cut: Cut) -> Tensor:
    """Torch has no negative steps: cut the same pixels forwards, then flip."""
    start, stop = _bounds(cut, x.shape[cut.axis])
    count = max(0, -((start - stop) // cut.step))
    if cut.step > 0:
        return x[_along(cut.axis, slice(start, start + count * cut.step, cut.step))]
    first = start + (count - 1) * cut.step
    return x[_along(cut.axis, slice(first, start + 1, -cut.step) if count else slice(0, 0))].flip(cut.axis)


def _bounds(cut: Cut, size: int) -> tuple[int, int]:
    """Return first and past-the-last pixel, clamped as ONNX has it (not quite as Python: a start stays inside)."""
    start = cut.start + size if cut.start < 0 else cut.start
    stop = cut.end + size if cut.end < 0 else cut.end
    if cut.step > 0:
        return min(max(start, 0), size), min(max(stop, 0), size)
    if cut.end in _TO_THE_END:
        stop = -1
    return min(max(start, 0), size - 1), min(max(stop, -1), size - 1)


def _along(axis: int, pixels: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, pixels)


def _gather(x: Tensor, *_static: Tensor | None, axis: int, indices: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    size = x.shape[axis]
    if not shape:
        return x.select(axis, indices[0] % size)
    picked = x.index_select(axis, torch.tensor([i % size for i in indices], device=x.device))
    return picked.reshape(*x.shape[:axis], *shape, *x.shape[axis + 1 :])


def _pad(x: Tensor, *_static: Tensor | None, pads: tuple[int, ...], mode: str, value: float) -> Tensor:
    return F.pad(x, pads, mode, value if mode == "constant" else None)
