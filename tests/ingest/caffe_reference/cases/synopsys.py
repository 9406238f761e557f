"""The Synopsys fork: padding of each side, SAME, averages of pixels, bounds, Pad and resizing as TensorFlow does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from caffe_reference.cases.parts import Rng, flat, image, pick, single
from caffe_reference.net import Net, Word

SIDES = ("pad_l", "pad_r", "pad_t", "pad_b")


def _sides(rng: Rng, high: int) -> dict[str, int]:
    """Some of the four sides; where all are 0 the fork takes them for not given."""
    drawn = {side: int(rng.integers(0, high + 1)) for side in SIDES}
    return {side: number for side, number in drawn.items() if number or rng.random() < 0.5}


def _windows(kind: str, draws: int):
    def draw(rng: Rng) -> Iterator[Net]:
        for _ in range(draws):
            kernel, dilation = int(rng.integers(1, 5)), int(rng.integers(1, 3))
            fields: dict[str, Any] = {"num_output": 2, "kernel_size": kernel, "stride": int(rng.integers(1, 4))}
            fields |= _sides(rng, 3)
            yield single(kind, image(rng, 2, 8), {"convolution_param": {**fields, "dilation": dilation}})

    return draw


def same_convolution(rng: Rng) -> Iterator[Net]:
    for n, k, s in product(range(1, 9), range(1, 5), range(1, 4)):
        fields = {"num_output": 2, "kernel_size": k, "stride": s, "pad_type": 1}
        yield single("Convolution", (2, n, int(rng.integers(1, 9))), {"convolution_param": fields})


def pooling(rng: Rng) -> Iterator[Net]:
    for kind, ceil, _ in product(("MAX", "AVE", "AVE_EXC_PAD", "AVE_TF"), (None, True, False), range(60)):
        kernel = int(rng.integers(1, 5))
        fields: dict[str, Any] = {"pool": Word(kind), "kernel_size": kernel, "stride": int(rng.integers(1, 5))}
        fields |= _sides(rng, kernel - 1) if rng.random() < 0.8 else {"pad": int(rng.integers(0, kernel))}
        rounding = {} if ceil is None else {"ceil_mode": ceil}
        yield single("Pooling", image(rng, 1, 9), {"pooling_param": {**fields, **rounding}})
    for kind in ("AVE_EXC_PAD", "AVE_TF"):
        yield single("Pooling", image(rng, 1, 9), {"pooling_param": {"pool": Word(kind), "global_pooling": True}})


def same_pooling(rng: Rng) -> Iterator[Net]:
    for kind, n, k, s in product(("MAX", "AVE", "AVE_EXC_PAD"), range(1, 9), range(1, 5), range(1, 4)):
        fields = {"pool": Word(kind), "kernel_size": k, "stride": s, "pad_type": 1}
        rounding = pick(rng, ({}, {"ceil_mode": True}, {"ceil_mode": False}))
        yield single("Pooling", (2, n, int(rng.integers(1, 9))), {"pooling_param": {**fields, **rounding}})


def bounded_relu(rng: Rng) -> Iterator[Net]:
    highs = ({}, {"relu6": True}, {"maximum": 0.5}, {"relu6": True, "maximum": 0.75}, {"maximum": -1.0})
    lows = ({}, {"minimum": 0.25}, {"minimum": -0.25})
    for high, low, slope in product(highs, lows, ({}, {"negative_slope": 0.5})):
        yield single("ReLU", image(rng), {"relu_param": {**high, **low, **slope}})


def pad(rng: Rng) -> Iterator[Net]:
    for border, _ in product((None, 0.5, -1.0), range(12)):
        ends = [0, 0, *(int(number) for number in rng.integers(0, 4, 6))]
        fields: dict[str, Any] = {"paddings": ends} | ({} if border is None else {"constant_values": border})
        yield single("Pad", image(rng), {"pad_param": fields})
    yield single("Pad", (3, 4, 4), {"pad_param": {"paddings": [0, 0, 1, 2]}}, bottoms=["f"], before=[flat("f")])


def _resizing(kind: str, param: str, flags: tuple[dict[str, bool], ...]):
    def draw(rng: Rng) -> Iterator[Net]:
        for flag, form, _ in product(flags, ("NCHW", "NHWC", None), range(24)):
            fields: dict[str, Any] = dict(flag)
            if form:
                fields["data_format"] = form
            for side in ("height", "width"):
                if rng.random() < 0.5:
                    fields[f"output_{side}"] = int(rng.integers(1, 13))
                else:
                    fields[f"scale_{side}"] = pick(rng, (1.0, 2.0, 3.0, 0.5, 1.5, 0.7))
            yield single(kind, image(rng, 1, 9), {param: fields})

    return draw


def epsilon(rng: Rng) -> Iterator[Net]:
    for first, across, eps in product((True, False), (True, False), (0.0, 0.5)):
        fields = {"add_eps_before_sqrt": first, "eps": eps}
        yield single("MVN", image(rng, 2, 6), {"mvn_param": {**fields, "across_channels": across}})
        yield single("Normalize", image(rng, 2, 6), {"norm_param": {**fields, "across_spatial": across}})
    yield single("BatchNorm", image(rng), {"batch_norm_param": {"use_global_stats": True, "add_eps_before_sqrt": True}})


_FLAGS = ({}, {"align_corners": True}, {"half_pixel_centers": True})

GRID = {
    "Synopsys Convolution": _windows("Convolution", 400),
    "Synopsys Deconvolution": _windows("Deconvolution", 300),
    "Synopsys SAME": same_convolution,
    "Synopsys Pooling": pooling,
    "Synopsys Pooling SAME": same_pooling,
    "Synopsys ReLU": bounded_relu,
    "Synopsys epsilon": epsilon,
    "Pad": pad,
    "ResizeBilinear": _resizing("ResizeBilinear", "resize_bilinear_param", (*_FLAGS, {"pytorch_half_pixel": True})),
    "ResizeNearestNeighbor": _resizing("ResizeNearestNeighbor", "resize_nearest_neighbor_param", _FLAGS),
}
