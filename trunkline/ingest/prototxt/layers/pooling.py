"""Pooling, by Caffe's own rule for the number of windows and the divisor of an average.

With input size n, kernel k, stride s and padding p on both sides, Caffe's output size is
⌈(n + 2p − k) / s⌉ + 1, less one if the last window would begin in the right padding, that is at n + p or
beyond. An average divides by the part of the window inside n + 2p (left padding, input, right padding).

The Synopsys fork has a padding for each side, where the two that n lies between take the place of 2p, and the first
that of p in n + p; and ``AVE_EXC_PAD``, once ``AVE_TF``, an average that divides by the pixels it has added up.
Source: synopsys-caffe, ``pooling_layer.cpp``.

ONNX runtimes agree on windows that stay inside the padding, on the plain ceiling for maxima, and on averages
that count no padding; they disagree elsewhere, so only these forms are emitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.layers.layer import Layer, Translator
from trunkline.ingest.prototxt.layers.padding_of import SIDES
from trunkline.ingest.prototxt.layers.pairs import Pair
from trunkline.ingest.prototxt.layers.spatial import CaffeWindow, refuse_large, window
from trunkline.ingest.prototxt.text.fields import Fields

# In the order of the enum, whose numbers a file may give: Caffe's three, then the fork's.
_KINDS = ("MAX", "AVE", "STOCHASTIC", "AVE_EXC_PAD", "AVE_TF")


@dataclass(frozen=True, slots=True)
class _Rounding:
    """How to say a Caffe output size in ONNX: ``ceil_mode``, and what to add to the end padding."""

    ceil_mode: int
    overhang: tuple[int, int]


def pooling(layer: Layer) -> ir.Value | Sequence[ir.Value]:
    """Pooling → MaxPool or AveragePool, or their global forms. A second top is the mask of a MaxPool."""
    fields = layer.fields.block("pooling_param")
    fields.ignore("engine")
    kind = fields.choice("pool", _KINDS, "MAX")
    if kind == "STOCHASTIC":
        advice = "it draws one number of each window while training: use MAX or AVE"
        raise layer.layer_error(f"{layer.text} is stochastic, which is not supported", "pool", advice, fields)
    if layer.top_count == 2 and (kind != "MAX" or fields.flag("global_pooling", False)):
        message = f"{layer.text} has a second top, the mask, which only MAX over windows gives"
        raise layer.layer_error(message, "top", "remove the second top")
    if fields.flag("global_pooling", False):
        return _global(layer, fields, kind)
    shape = window(layer, fields)
    # With SAME the windows just fit, so there is nothing to round.
    round_up = _rounds_up(layer, fields) and not shape.padding.is_same
    _refuse(layer, fields, shape, round_up)
    if kind == "MAX":
        return _maximum(layer, shape, round_up)
    if kind == "AVE":
        return _average(layer, shape, round_up)
    return _average_of_pixels(layer, shape, round_up)


def output_size(size: int, kernel: int, stride: int, pads: Pair, round_up: bool) -> int:
    """Return Caffe's number of windows along one axis, without a last one that begins beyond the input.

    Caffe drops that one only where there is padding; without any, such a pooling is refused.

    Args:
        size: Pixels of the input.
        kernel: Pixels of a window.
        stride: Pixels from one window to the next.
        pads: Pixels added before and after the input.
        round_up: Whether the last window may be incomplete.

    >>> output_size(112, 3, 2, (0, 0), round_up=True)
    56
    >>> output_size(112, 3, 2, (0, 0), round_up=False)
    55
    """
    steps = (size + sum(pads) - kernel) / stride
    count = (math.ceil(steps) if round_up else math.floor(steps)) + 1
    last = (count - 1) * stride
    return count - 1 if last >= size + pads[0] else count  # n + p of the module's text: the end padding begins there


def _maximum(layer: Layer, shape: CaffeWindow, round_up: bool) -> ir.Value | Sequence[ir.Value]:
    rounding = _rounding(layer, shape, round_up)
    attributes = {**_attributes(shape, shape.padding.pads, rounding), "storage_order": 0, "dilations": (1, 1)}
    if layer.top_count == 2 and layer.top_is_read(1):
        return layer.nodes("MaxPool", layer.inputs, attributes)
    if layer.top_count == 2:
        layer.site.report.note(f"nothing reads the mask of {layer.text}, so it is not computed")
    return layer.node("MaxPool", layer.inputs, attributes)


def _average(layer: Layer, shape: CaffeWindow, round_up: bool) -> ir.Value:
    rounding = _rounding(layer, shape, round_up)
    within = rounding.ceil_mode == 0 and rounding.overhang == (0, 0)
    padded = any(shape.padding.pads)
    # No window leaves the padded input, or there is no padding to count: ONNX divides by the same number as Caffe.
    if within or not padded:
        attributes = _attributes(shape, shape.padding.pads, rounding)
        return layer.node("AveragePool", layer.inputs, {**attributes, "count_include_pad": int(padded)})
    # Windows that reach beyond the padding divide by what lies within it: make the padding part of the input.
    pads = np.array([0, 0, *shape.padding.begin, 0, 0, *shape.padding.end], dtype=np.int64)
    data = layer.step("pad", "Pad", [layer.inputs[0], layer.constant("pads", pads)], {"mode": "constant"})
    attributes = _attributes(shape, (0, 0, 0, 0), rounding)
    return layer.node("AveragePool", [data], {**attributes, "count_include_pad": 0})


def _average_of_pixels(layer: Layer, shape: CaffeWindow, round_up: bool) -> ir.Value:
    """Divide by the pixels of a window, whether it reaches into the padding or beyond."""
    attributes = _attributes(shape, shape.padding.pads, _rounding(layer, shape, round_up))
    return layer.node("AveragePool", layer.inputs, {**attributes, "count_include_pad": 0})


def _rounding(layer: Layer, shape: CaffeWindow, round_up: bool) -> _Rounding:
    """Return how ONNX gets Caffe's number of windows: by rounding down, by rounding up, or by more end padding."""
    overhang, is_floor, is_ceiling = [], True, True
    pads = zip(shape.padding.begin, shape.padding.end, strict=True)
    for size, kernel, stride, ends in zip(layer.image()[1:], shape.kernel, shape.stride, pads, strict=True):
        span = size + sum(ends) - kernel
        count = output_size(size, kernel, stride, ends, round_up)
        is_floor &= count == span // stride + 1
        is_ceiling &= count == -(-span // stride) + 1
        overhang.append(max(0, (count - 1) * stride - span))
    if is_floor:
        return _Rounding(0, (0, 0))
    if is_ceiling:
        return _Rounding(1, (0, 0))
    # One axis rounds up and the other does not, or dropped a window, which ONNX cannot say with one ceil_mode.
    return _Rounding(0, (overhang[0], overhang[1]))


def _attributes(
    shape: CaffeWindow, pads: tuple[int, int, int, int], rounding: _Rounding
) -> dict[str, int | Sequence[int]]:
    top, left, bottom, right = pads
    return {
        "kernel_shape": shape.kernel,
        "strides": shape.stride,
        "pads": (top, left, bottom + rounding.overhang[0], right + rounding.overhang[1]),
        "ceil_mode": rounding.ceil_mode,
    }


def _global(layer: Layer, fields: Fields, kind: str) -> ir.Value:
    layer.image()
    sizes = [name for name in ("kernel_size", "kernel_h", "kernel_w") if fields.has(name)]
    if sizes:
        raise layer.layer_error(
            f"{layer.text} is global and has a {sizes[0]}", sizes[0], "remove one of the two", fields
        )
    # Caffe, too, refuses a stride or padding beside global_pooling.
    for name, neutral in (("stride", 1), ("pad", 0), ("pad_type", 0), *((side, 0) for side in SIDES)):
        if fields.integer(name, neutral) != neutral:
            raise layer.layer_error(f"{layer.text} is global, but has {name}", name, f"remove {name}", fields)
    fields.ignore("round_mode", "ceil_mode")  # with one window there is nothing to round
    return layer.node("GlobalMaxPool" if kind == "MAX" else "GlobalAveragePool", layer.inputs)


def _rounds_up(layer: Layer, fields: Fields) -> bool:
    """Read ``round_mode``, or ``ceil_mode`` as some forks spell it."""
    default = "CEIL" if layer.dialect.pooling_rounds_up else "FLOOR"
    mode = fields.choice("round_mode", ("CEIL", "FLOOR"), default) == "CEIL"
    ceil = fields.flag("ceil_mode", mode)
    if fields.has("round_mode") and ceil != mode:
        raise layer.layer_error(f"{layer.text}: round_mode and ceil_mode disagree", "ceil_mode", "keep one", fields)
    return ceil


def _refuse(layer: Layer, fields: Fields, shape: CaffeWindow, round_up: bool) -> None:
    """Raise if the windows are none that Caffe accepts and ONNX can say."""
    if shape.dilation != (1, 1):
        raise layer.layer_error(f"{layer.text} is dilated, which is not supported", "dilation", within=fields)
    if round_up and not any(shape.padding.pads):
        _refuse_empty_windows(layer, shape)
    # Caffe checks this too: such a window could lie in the padding alone.
    if any(pad >= kernel for pad, kernel in zip(shape.padding.pads, shape.kernel * 2, strict=True)):
        raise layer.layer_error(f"{layer.text}: pad must be smaller than the kernel", "pad", within=fields)
    refuse_large(layer, shape)


def _refuse_empty_windows(layer: Layer, shape: CaffeWindow) -> None:
    """Refuse a last window that begins beyond the input, which Caffe drops only where there is padding."""
    for size, kernel, stride in zip(layer.image()[1:], shape.kernel, shape.stride, strict=True):
        steps = -(-max(0, size - kernel) // stride)
        if steps * stride >= size:
            message = f"{layer.text}: its last window begins beyond the {size} pixels of its input"
            raise layer.layer_error(message, advice="add round_mode: FLOOR to leave this window out")


LAYERS = {"Pooling": Translator(pooling, tops=(1, 2))}
