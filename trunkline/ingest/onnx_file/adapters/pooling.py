"""AveragePool with gaps in its window, which opset 19 added, as sums of slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from trunkline.errors import InvalidModel
from trunkline.graph.graph import attribute, name_of
from trunkline.graph.passes.editor import Editor, pop
from trunkline.ingest.onnx_file.adapters.decompose import become, data_of, sizes_of, step, store_ints, store_number
from trunkline.ingest.onnx_file.adapters.registry import since, unsupported_form
from trunkline.ingest.onnx_file.passes.explicit_attributes import make_explicit

_MOST_TAPS = 32
"""Taps of a window along one axis, at most: each becomes a node."""


@dataclass(frozen=True, slots=True)
class _PooledAxis:
    """The window along one spatial axis; ``over`` pixels beyond the padding complete the last one."""

    size: int
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    ceil_mode: bool

    @property
    def count(self) -> int:
        """Return the number of windows; one that would start in the end padding is none."""
        room = self.begin + self.size + self.end - self.dilation * (self.kernel - 1) - 1
        if not self.ceil_mode:
            return room // self.stride + 1
        count = -(-room // self.stride) + 1
        starts_in_padding = (count - 1) * self.stride >= self.begin + self.size
        return count - 1 if starts_in_padding else count

    @property
    def over(self) -> int:
        """Return the pixels that the last window needs beyond the padding."""
        needed = (self.count - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        return max(0, needed - self.begin - self.size - self.end)

    def taps(self, *, count_pads: bool) -> np.ndarray[Any, Any]:
        """Return how many taps of each window count: those on the image, or on its padding too."""
        first, last = self.begin, self.begin + self.size
        if count_pads:
            first, last = 0, self.begin + self.size + self.end
        places = np.arange(self.count)[:, None] * self.stride + np.arange(self.kernel) * self.dilation
        counts: np.ndarray[Any, Any] = np.sum((places >= first) & (places < last), axis=1)
        return counts


@since(19, "AveragePool")
def average_pool_19(node: ir.Node, editor: Editor) -> None:
    """Sum the slices that the taps see, one axis after the other, and divide by the number that count."""
    if set(attribute(node, "dilations") or [1]) == {1}:
        pop(node, "dilations")
        return
    if attribute(node, "auto_pad", "NOTSET").startswith("SAME"):
        raise unsupported_form(node, "dilations with auto_pad SAME", "give the pads in numbers")
    make_explicit(node)
    axes = _axes(node)
    if max(axis.kernel for axis in axes) > _MOST_TAPS:
        raise unsupported_form(node, f"a window of more than {_MOST_TAPS} taps with gaps", "use a smaller window")
    if any(axis.count < 1 for axis in axes):
        raise InvalidModel("AveragePool: the window is larger than the padded image", place=name_of(node))
    counted = np.ones(())
    for axis in axes:
        counted = counted[..., None] * axis.taps(count_pads=bool(attribute(node, "count_include_pad", 0)))
    if not counted.all():  # 0 / 0, on which runtimes need not agree
        raise unsupported_form(node, "a window that sees padding only", "use less padding or dilation")
    total = _padded(node, editor, axes)
    for index, axis in enumerate(axes, start=2):
        total = _sum_along(node, editor, total, index, axis)
    # Without padding all windows count as many, and one number is stored instead of a map.
    is_uniform = bool((counted == counted.flat[0]).all())
    share = np.asarray(1.0 / counted.flat[0]) if is_uniform else (1.0 / counted)[None, None]
    become(node, "Mul", [total, store_number(node, editor, "share", share)])


def _axes(node: ir.Node) -> list[_PooledAxis]:
    sizes, names = sizes_of(node)[2:], ("kernel_shape", "strides", "dilations")
    pads, ceil_mode = attribute(node, "pads"), bool(attribute(node, "ceil_mode", 0))
    if min(min(attribute(node, name)) for name in names) < 1:
        raise InvalidModel("AveragePool: kernel, strides and dilations must be at least 1", place=name_of(node))
    windows = zip(*(attribute(node, name) for name in names), strict=True)
    rows = zip(sizes, windows, pads[: len(sizes)], pads[len(sizes) :], strict=True)
    return [
        _PooledAxis(size, kernel, stride, dilation, begin, end, ceil_mode)
        for size, (kernel, stride, dilation), begin, end in rows
    ]


def _padded(node: ir.Node, editor: Editor, axes: list[_PooledAxis]) -> ir.Value:
    pads = [0, 0, *(axis.begin for axis in axes), 0, 0, *(axis.end + axis.over for axis in axes)]
    if not any(pads):
        return data_of(node)
    return step(node, editor, "Pad", [data_of(node), store_ints(node, editor, "pads", pads)], mode="constant")


def _sum_along(node: ir.Node, editor: Editor, data: ir.Value, index: int, axis: _PooledAxis) -> ir.Value:
    def tap(position: int) -> ir.Value:
        start = position * axis.dilation
        settings = ([start], [start + (axis.count - 1) * axis.stride + 1], [index], [axis.stride])
        stored = [store_ints(node, editor, "slice", content) for content in settings]
        return step(node, editor, "Slice", [data, *stored])

    taps = [tap(position) for position in range(axis.kernel)]
    return taps[0] if len(taps) == 1 else step(node, editor, "Sum", taps)
