"""A network as data, and the prototxt that describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Form = Literal["input_shape", "input_dim", "Input", "V1", "numbers"]
"""How a file declares its image; ``V1`` also writes its layers as Caffe did before October 2014, and ``numbers`` its
enum values and flags as the integers that protobuf's text format takes too.
"""

ENUMS = {
    "pool": {"MAX": 0, "AVE": 1, "AVE_EXC_PAD": 3, "AVE_TF": 3},
    "round_mode": {"CEIL": 0, "FLOOR": 1},
    "norm_region": {"ACROSS_CHANNELS": 0, "WITHIN_CHANNEL": 1},
    "operation": {"PROD": 0, "SUM": 1, "MAX": 2, "ASUM": 2, "SUMSQ": 3, "MEAN": 4},
    "bn_mode": {"LEARN": 0, "INFERENCE": 1},
}
"""Caffe's numbers. Eltwise and Reduction both call their field ``operation`` and agree on what they share."""

V1_TYPES = {
    "AbsVal": "ABSVAL",
    "BNLL": "BNLL",
    "Concat": "CONCAT",
    "Convolution": "CONVOLUTION",
    "Deconvolution": "DECONVOLUTION",
    "Dropout": "DROPOUT",
    "Eltwise": "ELTWISE",
    "Exp": "EXP",
    "Flatten": "FLATTEN",
    "InnerProduct": "INNER_PRODUCT",
    "LRN": "LRN",
    "MVN": "MVN",
    "Pooling": "POOLING",
    "Power": "POWER",
    "ReLU": "RELU",
    "Sigmoid": "SIGMOID",
    "Silence": "SILENCE",
    "Slice": "SLICE",
    "Softmax": "SOFTMAX",
    "Split": "SPLIT",
    "TanH": "TANH",
}


class Senseless(ValueError):
    """Caffe refuses these settings, or computes rubbish from them."""


class Word(str):
    """An enum value, written without quotes."""


class Param:
    """The fields of one message, a repeated field being a list."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def has(self, name: str) -> bool:
        return name in self.fields

    def many(self, name: str) -> list[Any]:
        value = self.fields.get(name, [])
        return list(value) if isinstance(value, (list, tuple)) else [value]

    def one(self, name: str, default: Any) -> Any:
        values = self.many(name)
        return values[-1] if values else default

    def real(self, name: str, default: float) -> float:
        """A float field, rounded to float32 as protobuf stores it."""
        return float(np.float32(self.one(name, default)))

    def reals(self, name: str) -> list[float]:
        return [float(np.float32(value)) for value in self.many(name)]


@dataclass(frozen=True, slots=True)
class Layer:
    """One ``layer { … }``; ``fields`` are its other fields, a sub-message being a dict."""

    type: str
    name: str
    bottoms: Sequence[str]
    tops: Sequence[str]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def param(self, name: str) -> Param:
        return Param(self.fields.get(name, {}))


@dataclass(frozen=True, slots=True)
class Net:
    """An image ``data`` of ``[C, H, W]`` and the layers that follow."""

    image: tuple[int, int, int]
    layers: Sequence[Layer]
    form: Form = "input_shape"

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, in the order they appear."""
        left: dict[str, None] = {}
        for layer in self.layers:
            for name in layer.bottoms:  # before the tops, because a layer in place reads and writes one name
                left.pop(name, None)
            left.update(dict.fromkeys(layer.tops))
        return list(left)


def prototxt(net: Net) -> str:
    """The text of the file that describes ``net``."""
    dims = (1, *net.image)
    lines = ['name: "case"', *_image(net.form, dims)]
    for layer in net.layers:
        kind = V1_TYPES[layer.type] if net.form == "V1" else f'"{layer.type}"'
        head = [f'name: "{layer.name}"', f"type: {kind}"]
        head += [f'bottom: "{name}"' for name in layer.bottoms]
        head += [f'top: "{name}"' for name in layer.tops]
        block = "layers" if net.form == "V1" else "layer"
        lines.append(f"{block} {{ {' '.join([*head, *_fields(layer.fields, net.form == 'numbers')])} }}")
    return "\n".join(lines) + "\n"


def _image(form: Form, dims: Sequence[int]) -> list[str]:
    shape = " ".join(f"dim: {size}" for size in dims)
    if form == "Input":
        return [f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {shape} }} }} }}']
    if form == "input_shape":
        return ['input: "data"', f"input_shape {{ {shape} }}"]
    # V1 too: files before Caffe's input_shape have flat sizes.
    return ['input: "data"', *(f"input_dim: {size}" for size in dims)]


def _fields(fields: Mapping[str, Any], numbers: bool) -> Iterator[str]:
    for name, value in fields.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, Mapping):
                yield f"{name} {{ {' '.join(_fields(item, numbers))} }}"
            else:
                yield f"{name}: {_scalar(_number(name, item) if numbers else item)}"


def _number(name: str, value: Any) -> Any:
    if isinstance(value, Word):
        return ENUMS[name][value]
    return int(value) if isinstance(value, bool) else value


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not isinstance(value, Word):
        return f'"{value}"'
    return str(value)
