"""Convolution and its kin, and Pooling."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from caffe_reference.cases.parts import Rng, divisors, image, pick, single, spelt, spelt_often
from caffe_reference.net import Net, Word


def _pair(rng: Rng, low: int, high: int) -> tuple[int, int]:
    return int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))


def _window(rng: Rng, kernel, stride, pad, dilation) -> dict[str, Any]:
    return {
        **spelt_often(rng, "kernel_size", "kernel", kernel, None),
        **spelt_often(rng, "stride", "stride", stride, 1),
        **spelt_often(rng, "pad", "pad", pad, 0),
        **spelt_often(rng, "dilation", "dilation", dilation, 1),
    }


def _products(rng: Rng, kind: str, channels: int) -> dict[str, Any]:
    group = pick(rng, divisors(channels))
    outputs = group * int(rng.integers(1, 4))
    fields: dict[str, Any] = {"num_output": outputs}
    if group > 1 or rng.random() < 0.2:
        fields["group"] = group
    return {**fields, **_bias(rng)}


def _bias(rng: Rng) -> dict[str, Any]:
    return pick(rng, [{}, {"bias_term": False}, {"bias_term": True}])


def _convolutions(kind: str, sizes: range, kernels: range, draws: int):
    def draw(rng: Rng) -> Iterator[Net]:
        for n, k, s, p, d in product(sizes, kernels, range(1, 4), range(3), (1, 2)):
            fields = {"kernel_size": k, "stride": s, "pad": p, "dilation": d, **_products(rng, kind, 2)}
            yield single(kind, (2, n, n + 1), {"convolution_param": fields})
        for _ in range(draws):
            shape = image(rng, 2, 8)
            window = _window(rng, _pair(rng, 1, 4), _pair(rng, 1, 3), _pair(rng, 0, 3), _pair(rng, 1, 3))
            yield single(kind, shape, {"convolution_param": {**_products(rng, kind, shape[0]), **window}})

    return draw


def holes(rng: Rng) -> Iterator[Net]:
    """DeepLab's spelling of the dilation."""
    for n, k, hole, pad in product((6, 7), (1, 2, 3), (1, 2, 3), (0, 2)):
        fields = {"num_output": 3, "kernel_size": k, "hole": hole, "pad": pad}
        yield single("Convolution", (2, n, n), {"convolution_param": fields})


def _depthwise(kind: str):
    def draw(rng: Rng) -> Iterator[Net]:
        for _ in range(140):
            shape = image(rng, 3, 8)
            window = _window(rng, _pair(rng, 1, 3), _pair(rng, 1, 2), _pair(rng, 0, 2), _pair(rng, 1, 2))
            window = {"pad": 0, **window} if "pad_h" not in window else window
            group = {"group": shape[0]} if rng.random() < 0.5 else {}
            yield single(kind, shape, {"convolution_param": {"num_output": shape[0], **group, **window, **_bias(rng)}})

    return draw


ROUNDINGS = ({"round_mode": Word("FLOOR")}, {"round_mode": Word("CEIL")}, {"ceil_mode": False}, {"ceil_mode": True})


def pooling(rng: Rng) -> Iterator[Net]:
    """Every small size along one axis, the other drawn; then all ways to write it."""
    for kind, n, k, s, p in product(("MAX", "AVE"), range(1, 10), range(1, 5), range(1, 5), range(3)):
        other = tuple(int(rng.integers(*bounds)) for bounds in ((2, 9), (1, 5), (1, 4), (0, 2)))
        first = (n, k, s, p)
        for a, b in ((first, first), (first, other) if rng.random() < 0.5 else (other, first)):
            yield _pooling(rng, Word(kind), a, b, {})
    bounds = ((2, 10), (1, 6), (1, 5), (0, 3))
    for rounding, _ in product(ROUNDINGS, range(400)):
        rows, columns = (tuple(int(rng.integers(*bound)) for bound in bounds) for _ in range(2))
        yield _pooling(rng, Word(pick(rng, ("MAX", "AVE"))), rows, columns, rounding)
    for kind, n, m in product(("MAX", "AVE"), range(1, 6), range(1, 6)):
        yield single("Pooling", (3, n, m), {"pooling_param": {"pool": Word(kind), "global_pooling": True}})


def _pooling(rng: Rng, kind: Word, rows, columns, rounding: dict[str, Any]) -> Net:
    size, kernel, stride, pad = zip(rows, columns, strict=True)
    fields = {
        "pool": kind,
        **spelt(rng, "kernel_size", "kernel", kernel, None),
        **spelt(rng, "stride", "stride", stride, 1),
        **spelt(rng, "pad", "pad", pad, 0),
        **rounding,
    }
    if kind == "MAX" and rng.random() < 0.1:
        del fields["pool"]
    return single("Pooling", (2, *size), {"pooling_param": fields})


GRID = {
    "Convolution": _convolutions("Convolution", range(4, 8), range(1, 4), 1600),
    "Convolution hole": holes,
    "ConvolutionDepthwise": _depthwise("ConvolutionDepthwise"),
    "DepthwiseConvolution": _depthwise("DepthwiseConvolution"),
    "Deconvolution": _convolutions("Deconvolution", range(1, 5), range(1, 5), 1000),
    "Pooling": pooling,
}
