"""Crop, Interp and Upsample."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from caffe_reference.cases.parts import Rng, conv, image, same, single
from caffe_reference.net import Layer, Net, Word


def crop(rng: Rng) -> Iterator[Net]:
    for axis, form, _ in product((None, 1, 2, 3, -1, -2, -3), ("none", "one", "each"), range(8)):
        shape = image(rng, 4, 8)
        start = {None: 2, -1: 3, -2: 2, -3: 1}.get(axis, axis)
        cut = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        channels = int(rng.integers(1, shape[0] + 1)) if start == 1 else int(rng.integers(1, 4))
        room = [shape[0] - channels, cut[0] - 1, cut[1] - 1][start - 1 :]
        fields = {} if axis is None else {"axis": axis}
        if form == "one":
            fields["offset"] = int(rng.integers(min(room) + 1))
        elif form == "each":
            fields["offset"] = [int(rng.integers(space + 1)) for space in room]
        like = conv("like", channels, cut)
        net = single("Crop", shape, {"crop_param": fields} if fields else {}, bottoms=["data", "like"], before=[like])
        yield net


def interp(rng: Rng) -> Iterator[Net]:
    settings = [{"zoom_factor": zoom} for zoom in (1, 2, 3, 4, 8)]
    settings += [{"shrink_factor": shrink} for shrink in (1, 2, 3)]
    settings += [{"height": h, "width": w} for h, w in product((1, 2, 5, 9), (1, 3, 8))]
    settings += [{"shrink_factor": shrink, "zoom_factor": zoom} for shrink, zoom in product((2, 3), (2, 3))]
    pads = ({}, {"pad_beg": 0, "pad_end": 0}, {"pad_beg": -1}, {"pad_end": -1}, {"pad_beg": -1, "pad_end": -2})
    for fields, pad in product(settings, pads):
        for _ in range(2):
            yield single("Interp", image(rng, 1, 6), {"interp_param": {**fields, **pad}})


def interp_like(rng: Rng) -> Iterator[Net]:
    """The size of another blob."""
    for pad, _ in product(({}, {"pad_beg": -1}, {"pad_beg": -1, "pad_end": -1}), range(10)):
        like = conv("like", 2, (int(rng.integers(1, 4)), int(rng.integers(1, 4))))
        fields = {"interp_param": pad} if pad else {}
        yield single("Interp", image(rng, 3, 7), fields, bottoms=["data", "like"], before=[like])


def padding(rng: Rng) -> Iterator[Net]:
    for before, after in product(range(-2, 4), repeat=2):
        yield single("Padding", image(rng, 1, 5), {"padding_param": {"pad_beg": before, "pad_end": after}})


def upsample_nearest(rng: Rng) -> Iterator[Net]:
    for scale, _ in product((1, 2, 3, 4), range(5)):
        yield single("Upsample", image(rng, 1, 5), {"upsample_param": {"scale": scale}})


def unpooling(rng: Rng) -> Iterator[Net]:
    """SegNet: the mask of a max pooling holds the place that each number goes back to."""
    forms = [
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 3, "stride": 3},
        {"kernel_h": 2, "kernel_w": 3, "stride_h": 2, "stride_w": 3},
    ]
    for pool, _ in product(forms, range(20)):
        shape = image(rng, 3, 8)
        down = Layer("Pooling", "pool", ["x"], ["p", "mask"], {"pooling_param": {"pool": Word("MAX"), **pool}})
        before = [same("x"), down, same("q", "p", "Sigmoid")]
        for fields in _back(shape, pool):
            yield single("Upsample", shape, {"upsample_param": fields}, bottoms=["q", "mask"], before=before)


def _back(shape, pool) -> Iterator[dict]:
    """The settings that lead back to the size before the pooling."""
    factors = [pool.get(f"kernel_{side}", pool.get("kernel_size")) for side in "hw"]
    yield {"upsample_h": shape[1], "upsample_w": shape[2]}
    if all(size % factor == 0 for size, factor in zip(shape[1:], factors, strict=True)):
        yield {"scale_h": factors[0], "scale_w": factors[1]}
        if factors[0] == factors[1]:
            yield {"scale": factors[0]}
    if factors == [2, 2]:
        yield {"scale": 2, "pad_out_h": bool(shape[1] % 2), "pad_out_w": bool(shape[2] % 2)}


GRID = {
    "Crop": crop,
    "Interp": interp,
    "Interp like another": interp_like,
    "Padding": padding,
    "Upsample nearest": upsample_nearest,
    "Upsample by mask": unpooling,
}
