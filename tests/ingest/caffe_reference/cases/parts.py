"""What the generators are written with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caffe_reference.net import Layer, Net

Rng = np.random.Generator


def single(
    kind: str,
    image: tuple[int, int, int],
    fields: Mapping[str, Any] | None = None,
    *,
    bottoms: Sequence[str] = ("data",),
    tops: Sequence[str] = ("y",),
    before: Sequence[Layer] = (),
) -> Net:
    """A net whose last layer is the one under test, called ``layer``."""
    return Net(image, [*before, Layer(kind, "layer", bottoms, tops, fields or {})])


def same(name: str, bottom: str = "data", kind: str = "TanH") -> Layer:
    """A blob of the same shape and other content."""
    return Layer(kind, name, [bottom], [name])


def conv(name: str, channels: int, kernel: tuple[int, int] = (1, 1), bottom: str = "data") -> Layer:
    """A blob of other channels, and smaller by the kernel."""
    sizes = {"num_output": channels, "kernel_h": kernel[0], "kernel_w": kernel[1], "bias_term": False}
    return Layer("Convolution", name, [bottom], [name], {"convolution_param": sizes})


def dense(name: str, count: int, bottom: str = "data") -> Layer:
    """A blob of two axes."""
    return Layer("InnerProduct", name, [bottom], [name], {"inner_product_param": {"num_output": count}})


def flat(name: str) -> Layer:
    """A blob of two axes that holds the image's own numbers."""
    return Layer("Flatten", name, ["data"], [name])


def pick(rng: Rng, options: Sequence[Any]) -> Any:
    return options[rng.integers(len(options))]


def image(rng: Rng, low: int = 1, high: int = 7, channels: Sequence[int] = (1, 2, 3, 4, 6)) -> tuple[int, int, int]:
    height, width = rng.integers(low, high + 1, 2)
    return int(pick(rng, channels)), int(height), int(width)


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def spelt(rng: Rng, name: str, short: str, pair: tuple[int, int], default: int | None) -> dict[str, Any]:
    """A pair of sizes in one of the ways a file may write it."""
    pair = (int(pair[0]), int(pair[1]))
    ways: list[dict[str, Any]] = [{f"{short}_h": pair[0], f"{short}_w": pair[1]}]
    if pair[0] == pair[1]:
        ways += [{name: pair[0]}] * 2
    if pair == (default, default):
        ways += [{}] * 2
    return dict(pick(rng, ways))


def spelt_often(rng: Rng, name: str, short: str, pair: tuple[int, int], default: int | None) -> dict[str, Any]:
    """The same for a repeated field, which may also be given twice."""
    if rng.random() < 0.3:
        return {name: [int(pair[0]), int(pair[1])]}
    if short != "dilation":
        return spelt(rng, name, short, pair, default)
    if pair[0] != pair[1]:
        return {name: [int(pair[0]), int(pair[1])]}
    return {} if pair == (default, default) else {name: int(pair[0])}
