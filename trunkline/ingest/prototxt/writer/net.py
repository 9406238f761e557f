"""A Caffe network that is about to be written: layers, their settings and their blobs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trunkline.ingest.prototxt.text.source import Span
from trunkline.ingest.prototxt.text.tree import Message, Scalar, TextField
from trunkline.ingest.prototxt.text.write_tree import write


class Text(str):
    """A setting that is a string, and so is written in quotes."""

    __slots__ = ()


Setting = bool | int | float | str | Sequence[int] | Sequence[float]
"""A string is one of an enum's words unless it is a :class:`Text`; a sequence makes a repeated field."""

_NOWHERE = Span(1, 1)


@dataclass(frozen=True, slots=True)
class CaffeBlob:
    """Numbers that a layer keeps.

    Attributes:
        shape: Its axes as Caffe has them, which may be fewer than the Graph's.
        tensor: The tensor that holds the numbers; not read before they are written.
        weight: Its name in the Graph; empty for numbers that only Caffe needs.
    """

    shape: tuple[int, ...]
    tensor: ir.TensorProtocol
    weight: str = ""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class CaffeLayer:
    """One ``layer { … }`` block and its blobs; ``shared`` names blobs that other layers have too, by index."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    settings: tuple[TextField, ...] = ()
    blobs: tuple[CaffeBlob, ...] = ()
    shared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CaffeNet:
    """A whole network; ``notes`` list what Caffe keeps differently, and which fork has a layer."""

    name: str
    image: str
    image_shape: tuple[int, ...]
    layers: tuple[CaffeLayer, ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the deploy prototxt."""
        # Caffe needs a size for the batch; whoever runs the network may reshape it.
        sizes = Message([_scalar("dim", size) for size in (1, *self.image_shape)], _NOWHERE)
        shape = TextField("shape", sizes, _NOWHERE)
        settings = (TextField("input_param", Message([shape], _NOWHERE), _NOWHERE),)
        first = CaffeLayer(self.image, "Input", (), (self.image,), settings)
        blocks = [TextField("layer", _message(layer), _NOWHERE) for layer in (first, *self.layers)]
        return write(Message([_string("name", self.name), *blocks], _NOWHERE))


def block(name: str, settings: Mapping[str, Setting]) -> TextField:
    """Return the field ``name { … }`` with these settings.

    >>> pool = block("pooling_param", {"pool": "MAX", "kernel_size": [2, 3]})
    >>> print(write(Message([pool], _NOWHERE)), end="")
    pooling_param {
      pool: MAX
      kernel_size: 2
      kernel_size: 3
    }
    """
    fields: list[TextField] = []
    for key, value in settings.items():
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        fields.extend(_scalar(key, item) for item in items)
    return TextField(name, Message(fields, _NOWHERE), _NOWHERE)


def sizes_block(name: str, inner: str, sizes: Sequence[int]) -> TextField:
    """Return ``name { inner { dim: … } }``."""
    return TextField(name, Message([block(inner, {"dim": sizes})], _NOWHERE), _NOWHERE)


def _message(layer: CaffeLayer) -> Message:
    fields = [_string("name", layer.name), _string("type", layer.type)]
    fields += [_string("bottom", name) for name in layer.bottoms]
    fields += [_string("top", name) for name in layer.tops]
    if any(layer.shared):
        # One param block a blob, in order: an empty one keeps the place of a blob that is not shared.
        for shared in layer.shared:
            inner = [_string("name", shared)] if shared else []
            fields.append(TextField("param", Message(inner, _NOWHERE), _NOWHERE))
    return Message([*fields, *layer.settings], _NOWHERE)


def _string(name: str, text: str) -> TextField:
    return TextField(name, Scalar(text, True, _NOWHERE), _NOWHERE)


def _scalar(name: str, value: bool | int | float | str) -> TextField:
    text = str(value)
    if isinstance(value, Text):
        return _string(name, text)
    if isinstance(value, bool):
        text = text.lower()
    elif isinstance(value, float):
        text = str(np.float32(value))  # the fewest digits that give the same float32
    return TextField(name, Scalar(text, False, _NOWHERE), _NOWHERE)
