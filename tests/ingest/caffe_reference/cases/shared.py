"""Layers that share their blobs by ``param { name }``, all of them or only the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from caffe_reference.cases.parts import Rng, pick
from caffe_reference.net import Layer, Net

_BLOBS = {"Convolution": 2, "Deconvolution": 2, "InnerProduct": 2, "Scale": 2, "Bias": 1, "PReLU": 1, "BatchNorm": 3}


def shared(rng: Rng) -> Iterator[Net]:
    for kind, in_a_row, _ in product(_BLOBS, (True, False), range(8)):
        channels = int(pick(rng, (2, 3)))
        names: list[dict[str, Any]] = [{"name": f"blob{i}"} for i in range(_BLOBS[kind])]
        if len(names) == 2 and rng.random() < 0.4:
            names[1] = {"lr_mult": 2}
        yield _net(kind, channels, int(rng.integers(1, 4)), names, in_a_row)


def _net(kind: str, channels: int, width: int, names: list[dict[str, Any]], in_a_row: bool) -> Net:
    """Two layers that share, beside each other or in a row, and one that does not."""
    fields = _fields(kind, channels, width)
    layers = [
        Layer(kind, "first", ["data"], ["a"], {"param": names, **fields}),
        Layer(kind, "second", ["a" if in_a_row else "data"], ["b"], {"param": names, **fields}),
        Layer(kind, "third", ["b"], ["c"], fields),
    ]
    return Net((channels, 2, width), layers)


def _fields(kind: str, channels: int, width: int) -> Mapping[str, Any]:
    """Settings under which a result is as large as its input."""
    if kind == "InnerProduct":
        return {"inner_product_param": {"num_output": channels * 2 * width}}
    if kind in ("Convolution", "Deconvolution"):
        return {"convolution_param": {"num_output": channels, "kernel_size": 3, "pad": 1}}
    return {"scale_param": {"bias_term": True}} if kind == "Scale" else {}


GRID = {"shared parameters": shared}
