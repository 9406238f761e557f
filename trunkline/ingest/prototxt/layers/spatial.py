"""Kernel, padding, stride and dilation, in every way a file may write them."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.ingest.prototxt.fields import Fields
from trunkline.ingest.prototxt.layers.layer import Layer

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window, each field as (height, width)."""

    kernel: Pair
    stride: Pair
    pad: Pair
    dilation: Pair = (1, 1)

    @property
    def extent(self) -> Pair:
        """The rows and columns one window spans, dilation included."""
        return (
            self.dilation[0] * (self.kernel[0] - 1) + 1,
            self.dilation[1] * (self.kernel[1] - 1) + 1,
        )


def window(layer: Layer, fields: Fields) -> Window:
    """Read a window: one number, two of a repeated field, or ``*_h`` and ``*_w``.

    Raises:
        LayerFaultError: There is no kernel, or one size is given in two ways.
    """
    kernel = pair(layer, fields, "kernel_size", ("kernel_h", "kernel_w"), default=0)
    if min(kernel) < 1:
        raise layer.missing(fields, "kernel_size", "add the size of its window")
    stride = pair(layer, fields, "stride", ("stride_h", "stride_w"), default=1)
    if min(stride) < 1:
        raise layer.fault(f"{layer.text} has stride 0", "stride", "the smallest stride is 1", fields)
    return Window(kernel, stride, pair(layer, fields, "pad", ("pad_h", "pad_w"), default=0), _dilation(layer, fields))


def pair(layer: Layer, fields: Fields, name: str, sides: tuple[str, str], default: int) -> Pair:
    """Read one size for both axes, or one for each."""
    both = fields.integers(name)
    if fields.has(sides[0]) or fields.has(sides[1]):
        if both:
            raise layer.fault(f"{layer.text} gives {name} and {sides[0]}/{sides[1]}", name, "keep one form", fields)
        return fields.integer(sides[0], default), fields.integer(sides[1], default)
    if len(both) > 2:
        raise layer.fault(f"{layer.text} has {len(both)} values for {name}", name, "an image has two axes", fields)
    both = both or [default]
    return both[0], both[-1]


def refuse_large(layer: Layer, shape: Window, advice: str) -> None:
    """Raise if the window does not fit into the padded input."""
    _, height, width = layer.image()
    for size, extent, pad in zip((height, width), shape.extent, shape.pad, strict=True):
        if extent > size + 2 * pad:
            found = " x ".join(map(str, shape.extent))
            message = f"{layer.text}: the kernel spans {found}, more than its padded input {layer.written()}"
            raise layer.fault(f"{message} with pad {shape.pad[0]} x {shape.pad[1]}", advice=advice)


def _dilation(layer: Layer, fields: Fields) -> Pair:
    """Read ``dilation``, which DeepLab called ``hole`` before Caffe had it."""
    name, other = ("hole", "dilation") if any(map(fields.has, ("hole", "hole_h", "hole_w"))) else ("dilation", "hole")
    dilation = pair(layer, fields, name, (f"{name}_h", f"{name}_w"), default=1)
    if name == "hole" and any(map(fields.has, (other, f"{other}_h", f"{other}_w"))):
        raise layer.fault(f"{layer.text} gives hole and dilation", name, "keep one: they mean the same", fields)
    if min(dilation) < 1:
        raise layer.fault(f"{layer.text} has {name} 0", name, "1 means none", fields)
    return dilation
