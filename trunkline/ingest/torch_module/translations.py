"""What to write for the operators of torch that its exporter writes less plainly, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

Translation = Callable[..., Any]


def translations() -> dict[Callable[..., Any], Translation]:
    """Return the functions that write an operator of torch in ONNX, each for its operator."""
    import torch

    aten = torch.ops.aten
    return {
        aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
        aten.adaptive_max_pool2d.default: adaptive_max_pool2d,
        aten.conv2d.default: conv2d,
        aten.conv_transpose2d.input: conv_transpose2d,
        aten.select_scatter.default: select_scatter,
        aten.slice_scatter.default: slice_scatter,
    }


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Any:
    """Write a Conv that has a bias only if the layer has one."""
    op = _opset()
    geometry = _geometry(stride, padding, dilation, groups)
    return op.Conv(*_present(x, weight, bias), **geometry)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Any:
    """Write a ConvTranspose that has a bias only if the layer has one."""
    op = _opset()
    geometry = _geometry(stride, padding, dilation, groups)
    return op.ConvTranspose(*_present(x, weight, bias), output_padding=_pair(output_padding), **geometry)


def adaptive_avg_pool2d(self: Any, output_size: Sequence[int]) -> Any:
    """Average over windows of nearly equal size: of n pixels, window i of o is ⌊i·n/o⌋ up to, without, ⌈(i+1)·n/o⌉.

    1. To one pixel: GlobalAveragePool.
    2. Along axes where o divides n: AveragePool.
    3. Along other axes: a product with a matrix that has a window in each row.
    """
    op = _opset()
    if list(output_size) == [1, 1]:  # rule 1
        return op.GlobalAveragePool(self)
    steps = _whole_steps(self, output_size)
    pooled = self
    if any(step > 1 for step in steps):  # rule 2
        kernel = [max(1, step) for step in steps]
        pooled = op.AveragePool(self, kernel_shape=kernel, strides=kernel)
    for axis, (step, (size, wanted)) in enumerate(zip(steps, _axes(self, output_size), strict=True)):
        if step:
            continue
        windows = _constant(np.stack([_mean_weights(*window, size) for window in _windows(size, wanted)]))  # rule 3
        pooled = op.MatMul(windows, pooled) if axis == 0 else op.MatMul(pooled, op.Transpose(windows, perm=[1, 0]))
    return op.Identity(self) if pooled is self else pooled


def adaptive_max_pool2d(self: Any, output_size: Sequence[int]) -> Any:
    """Take the largest of each window; a smaller one repeats its last pixel, which changes no maximum."""
    op = _opset()
    nowhere = op.Identity(self)  # in place of the maxima's positions: export_module refuses modules that use them
    if list(output_size) == [1, 1]:
        return op.GlobalMaxPool(self), nowhere
    sizes = [size for size, _ in _axes(self, output_size)]
    steps = _whole_steps(self, output_size)
    pooled = self
    if all(steps):
        return op.MaxPool(self, kernel_shape=steps, strides=steps)[0], nowhere
    for axis, wanted in enumerate(output_size):
        windows = [range(*window) for window in _windows(sizes[axis], wanted)]
        longest = max(map(len, windows))
        pixels: list[int] = []
        for window in windows:
            missing = longest - len(window)
            pixels += [*window, *[window[-1]] * missing]
        picked = op.Gather(pooled, op.Constant(value_ints=pixels), axis=2 + axis)
        apart = [0, 0, wanted, longest, -1] if axis == 0 else [0, 0, -1, wanted, longest]
        split = op.Reshape(picked, op.Constant(value_ints=apart))
        pooled = op.ReduceMax(split, op.Constant(value_ints=[3 + axis]), keepdims=0)
    return pooled, nowhere


def slice_scatter(
    self: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """Put ``src`` in the place of a slice of ``self``, as ``y[:, :4] += 1`` does.

    1. Where ``src`` replaces the whole axis, it is the result. Along the batch nothing else is possible.
    2. A run of indices is replaced by joining what is before it, ``src``, and what is behind it.
    3. Every so many indices are replaced by choosing from ``self`` and ``src``, one behind the other.
    """
    op = _opset()
    size = self.shape[dim]
    last = size if isinstance(size, int) else _END
    if not start and step == 1 and (end is None or end >= last):  # rule 1
        return op.Identity(src)
    if not isinstance(size, int):
        raise NotImplementedError("it writes to some images of a batch")
    places = range(size)[slice(start, end, step)]
    if step == 1:  # rule 2
        return _joined(self, src, dim, places.start, places.stop)
    # Rule 3: in the two joined, index i of `self` is still i, and index j of `src` is size + j.
    order = list(range(size))
    for index, place in enumerate(places):
        order[place] = size + index
    return op.Gather(op.Concat(self, src, axis=dim), op.Constant(value_ints=order), axis=dim)


def select_scatter(self: Any, src: Any, dim: int, index: int) -> Any:
    """Put ``src`` in the place of one index of an axis of ``self``, as ``y[:, 2] = x`` does."""
    op = _opset()
    size = self.shape[dim]
    if not isinstance(size, int):
        raise NotImplementedError("it writes to one image of a batch")
    whole = op.Unsqueeze(src, op.Constant(value_ints=[dim % len(self.shape)]))
    return _joined(self, whole, dim, index % size, index % size + 1)


_END = 2**31 - 1
"""An end from here on is the end of any axis: torch writes 2**63 - 1 where a slice is open."""


def _opset() -> Any:
    """Return ONNX's operators as functions. The package is imported late: only reading a module needs it."""
    from onnxscript import opset18

    return opset18


def _joined(self: Any, src: Any, dim: int, first: int, last: int) -> Any:
    op = _opset()
    size = self.shape[dim]
    before = [op.Slice(self, *_ints([0], [first], [dim], [1]))] if first > 0 else []
    behind = [op.Slice(self, *_ints([last], [size], [dim], [1]))] if last < size else []
    parts = [*before, src, *behind]
    return op.Identity(src) if len(parts) == 1 else op.Concat(*parts, axis=dim)


def _ints(*contents: Sequence[int]) -> list[Any]:
    op = _opset()
    return [op.Constant(value_ints=list(content)) for content in contents]


def _constant(array: np.ndarray[Any, Any]) -> Any:
    op = _opset()
    return op.Constant(value=ir.tensor(array.astype(np.float32)))


def _axes(self: Any, output_size: Sequence[int]) -> list[tuple[int, int]]:
    """Return size and wanted size of rows and columns."""
    return [(int(size), int(wanted)) for size, wanted in zip(self.shape[-2:], output_size, strict=True)]


def _whole_steps(self: Any, output_size: Sequence[int]) -> list[int]:
    """Return the pixels of a window along each axis, or 0 where the windows differ in size."""
    return [size // wanted if size % wanted == 0 else 0 for size, wanted in _axes(self, output_size)]


def _windows(size: int, wanted: int) -> list[tuple[int, int]]:
    """Return where each of ``wanted`` windows begins and ends."""
    return [(index * size // wanted, -(-(index + 1) * size // wanted)) for index in range(wanted)]


def _mean_weights(first: int, last: int, size: int) -> np.ndarray[Any, Any]:
    """Return the row of factors that averages the pixels from ``first`` to ``last``."""
    row = np.zeros(size)
    row[first:last] = 1 / (last - first)
    return row


def _geometry(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int) -> dict[str, Any]:
    return {"strides": _pair(stride), "pads": _pair(padding) * 2, "dilations": _pair(dilation), "group": groups}


def _present(x: Any, weight: Any, bias: Any) -> list[Any]:
    """Leave out an absent bias: torch's exporter writes zeros in its place, which would train."""
    return [x, weight] if bias is None else [x, weight, bias]


def _pair(sizes: Sequence[int]) -> list[int]:
    return [int(size) for size in sizes] * (2 if len(sizes) == 1 else 1)
