"""Kernel, padding, stride and dilation, in every way a file may write them."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.ingest.prototxt.layers.layer import Layer
from trunkline.ingest.prototxt.layers.padding_of import Padding, padding_of
from trunkline.ingest.prototxt.layers.pairs import Pair, pair
from trunkline.ingest.prototxt.layers.too_small import too_small_error
from trunkline.ingest.prototxt.text.fields import Fields


@dataclass(frozen=True, slots=True)
class CaffeWindow:
    """A sliding window, each pair as (height, width)."""

    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair = (1, 1)

    @property
    def extent(self) -> Pair:
        """The rows and columns one window spans, dilation included."""
        return (
            self.dilation[0] * (self.kernel[0] - 1) + 1,
            self.dilation[1] * (self.kernel[1] - 1) + 1,
        )


def window(layer: Layer, fields: Fields) -> CaffeWindow:
    """Read a window: one number, two of a repeated field, or ``*_h`` and ``*_w``.

    Raises:
        LayerFaultError: There is no kernel, or one size is given in two ways.
    """
    kernel = pair(layer, fields, "kernel_size", ("kernel_h", "kernel_w"), default=0)
    if min(kernel) < 1:  # absent, or written as 0
        raise layer.missing_field_error(fields, "kernel_size", "add the size of its window")
    stride = pair(layer, fields, "stride", ("stride_h", "stride_w"), default=1)
    if min(stride) < 1:
        raise layer.layer_error(f"{layer.text} has stride 0", "stride", "the smallest stride is 1", fields)
    window = CaffeWindow(kernel, stride, padding_of(layer, fields, kernel, stride), _dilation(layer, fields))
    if window.padding.is_same and window.dilation != (1, 1):
        message = f"{layer.text} is dilated and has pad_type 1, which takes no notice of that"
        raise layer.layer_error(message, "pad_type", "give pad_l, pad_r, pad_t and pad_b", fields)
    return window


def refuse_large(layer: Layer, shape: CaffeWindow) -> None:
    """Raise if the window does not fit into the padded input."""
    _, height, width = layer.image()
    for size, extent, total in zip((height, width), shape.extent, shape.padding.total, strict=True):
        if extent > size + total:
            found = " x ".join(map(str, shape.extent))
            message = f"{layer.text}: the kernel spans {found}, more than its padded input {layer.written()}"
            raise too_small_error(layer, f"{message} with {shape.padding}")


def _dilation(layer: Layer, fields: Fields) -> Pair:
    """Read ``dilation``, which DeepLab called ``hole`` before Caffe had it."""
    has_hole = any(map(fields.has, ("hole", "hole_h", "hole_w")))
    name = "hole" if has_hole else "dilation"
    dilation = pair(layer, fields, name, (f"{name}_h", f"{name}_w"), default=1)
    if has_hole and any(map(fields.has, ("dilation", "dilation_h", "dilation_w"))):
        raise layer.layer_error(f"{layer.text} gives hole and dilation", name, "keep one: they mean the same", fields)
    if min(dilation) < 1:
        raise layer.layer_error(f"{layer.text} has {name} 0", name, "1 means none", fields)
    return dilation
