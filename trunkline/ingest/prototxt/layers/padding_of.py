"""How far a window may reach beyond its input: Caffe's padding, and that of the Synopsys fork.

Caffe pads both ends of an axis equally: ``pad``, or ``pad_h`` and ``pad_w``. The Synopsys fork, which converters from
TensorFlow write for, has a number for each side (``pad_l``, ``pad_r``, ``pad_t``, ``pad_b``) and ``pad_type: 1``,
TensorFlow's SAME. Source: synopsys-caffe, ``base_conv_layer.cpp``, ``im2col.cpp`` and ``pooling_layer.cpp``.
"""

from __future__ import annotations

from dataclasses import dataclass

from trunkline.ingest.prototxt.layers.layer import Layer
from trunkline.ingest.prototxt.layers.pairs import Pair, pair
from trunkline.ingest.prototxt.text.fields import Fields

SIDES = ("pad_t", "pad_l", "pad_b", "pad_r")
"""The four sides, in ONNX's order: where height and width begin, then where they end."""

_EQUAL = ("pad", "pad_h", "pad_w")


@dataclass(frozen=True, slots=True)
class Padding:
    """Pixels added before and after (height, width); with ``is_same`` they follow from ``pad_type: 1``."""

    begin: Pair
    end: Pair
    is_same: bool = False

    @property
    def total(self) -> Pair:
        """Rows and columns added together."""
        return self.begin[0] + self.end[0], self.begin[1] + self.end[1]

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """The four numbers as ONNX has them."""
        return (*self.begin, *self.end)

    def __str__(self) -> str:
        if self.begin == self.end:
            return f"pad {self.begin[0]} x {self.begin[1]}"
        return " ".join(f"{side} {number}" for side, number in zip(SIDES, self.pads, strict=True))


def padding_of(layer: Layer, fields: Fields, kernel: Pair, stride: Pair) -> Padding:
    """Read the padding in whichever form the file has it.

    Raises:
        LayerFaultError: The file gives it in two forms, or as a type that does not exist.
    """
    sides = tuple(fields.integer(name, 0) for name in SIDES)
    equal = pair(layer, fields, "pad", ("pad_h", "pad_w"), default=0)
    kind = fields.integer("pad_type", 0)
    if kind > 1:
        raise layer.layer_error(f"{layer.text} has pad_type {kind}", "pad_type", "0 is none, 1 is SAME", fields)
    given = next((name for name in _EQUAL if fields.has(name)), "")
    # A side of 0, the fork's default for each, is no second form.
    if any(sides) and (given or kind):
        message = f"{layer.text} gives {given or 'pad_type'} and pad_l/pad_r/pad_t/pad_b"
        raise layer.layer_error(message, given or "pad_type", "keep one form", fields)
    if kind and given:
        raise layer.layer_error(f"{layer.text} gives {given} and pad_type", "pad_type", "keep one form", fields)
    if kind:
        return _same(layer, kernel, stride)
    if any(sides):
        return Padding((sides[0], sides[1]), (sides[2], sides[3]))
    return Padding(equal, equal)


def _same(layer: Layer, kernel: Pair, stride: Pair) -> Padding:
    """Return the padding with which ⌈size / stride⌉ windows just fit; an odd one is added at the end."""
    total = [_missing(*axis) for axis in zip(layer.image()[1:], kernel, stride, strict=True)]
    # As in TensorFlow: where an odd number is missing, the end gets the larger part.
    begin = total[0] // 2, total[1] // 2
    return Padding(begin, (total[0] - begin[0], total[1] - begin[1]), is_same=True)


def _missing(size: int, kernel: int, stride: int) -> int:
    """Return the pixels that ⌈size / stride⌉ windows reach beyond ``size``."""
    last = (-(-size // stride) - 1) * stride
    return max(0, last + kernel - size)
