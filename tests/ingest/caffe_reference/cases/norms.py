"""BatchNorm with and without a Scale after it, BN, LRN, MVN, Normalize and Softmax."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from caffe_reference.cases.parts import Rng, dense, image, pick, single
from caffe_reference.net import Layer, Net, Word


def batch_norm(rng: Rng) -> Iterator[Net]:
    settings = [{}, {"use_global_stats": True}, {"moving_average_fraction": 0.9}]
    scales = (None, {}, {"bias_term": True})
    for eps, own, scale, in_place, rows in product((None, 1e-3, 0.1), settings, scales, (True, False), (False, True)):
        fields = {**own, "eps": eps} if eps else own
        yield _normalised(image(rng), fields, scale, in_place, [dense("rows", 5)] if rows else [])


def _normalised(shape, fields, scale, in_place: bool, before) -> Net:
    """BatchNorm, and the Scale that Trunkline may absorb."""
    bottom = before[-1].tops[0] if before else "data"
    top = bottom if in_place and before else "y"
    norm = {"batch_norm_param": fields} if fields else {}
    net = single("BatchNorm", shape, norm, bottoms=[bottom], tops=[top], before=before)
    if scale is None:
        return net
    last = Layer("Scale", "scale", [top], [top if in_place else "z"], {"scale_param": scale} if scale else {})
    return Net(net.image, [*net.layers, last])


def bn(rng: Rng) -> Iterator[Net]:
    for _ in range(4):
        for frozen, momentum, eps in product((None, True, False), (None, 0.95), (None, 1e-3)):
            fields = {"frozen": frozen, "momentum": momentum, "eps": eps}
            fields = {name: value for name, value in fields.items() if value is not None}
            fields["slope_filler"] = {"type": "constant", "value": 1}
            fields["bias_filler"] = {"type": "constant", "value": 0}
            yield single("BN", image(rng), {"bn_param": fields})
        one, small = {"type": "constant", "value": 1}, {"type": "constant", "value": 0.001}
        fillers = {"scale_filler": one, "shift_filler": small}
        yield single("BN", image(rng), {"bn_param": {"bn_mode": Word("INFERENCE"), **fillers}})
        yield single("BN", image(rng), {"bn_param": {**fillers, "bn_mode": Word("INFERENCE")}})


def lrn_across(rng: Rng) -> Iterator[Net]:
    grid = product((None, 1, 3, 5, 7, 9), (None, 1e-4, 0.5, 2), (None, 0.5, 1), (None, 2, 0.5))
    for size, alpha, beta, k in grid:
        fields = {"local_size": size, "alpha": alpha, "beta": beta, "k": k}
        fields = {name: value for name, value in fields.items() if value is not None}
        if rng.random() < 0.3:
            fields["norm_region"] = Word("ACROSS_CHANNELS")
        yield single("LRN", image(rng, 1, 4, (1, 2, 3, 5, 8)), {"lrn_param": fields} if fields else {})


def lrn_within(rng: Rng) -> Iterator[Net]:
    for size, alpha, beta, k in product((None, 1, 3, 5), (None, 1e-2, 2), (None, 0.5, 1), (None, 1, 2)):
        fields = {"norm_region": Word("WITHIN_CHANNEL"), "local_size": size, "alpha": alpha, "beta": beta, "k": k}
        fields = {name: value for name, value in fields.items() if value is not None}
        yield single("LRN", image(rng, 1, 7), {"lrn_param": fields})


def mvn(rng: Rng) -> Iterator[Net]:
    for across, variance, eps in product((None, True, False), (None, True, False), (None, 1e-3, 0.1)):
        fields = {"across_channels": across, "normalize_variance": variance, "eps": eps}
        fields = {name: value for name, value in fields.items() if value is not None}
        for _ in range(3):
            yield single("MVN", image(rng, 2, 6), {"mvn_param": fields} if fields else {})


def normalize(rng: Rng) -> Iterator[Net]:
    for across, shared, eps in product((None, True, False), (None, True, False), (None, 1e-3)):
        fields = {"across_spatial": across, "channel_shared": shared, "eps": eps}
        fields = {name: value for name, value in fields.items() if value is not None}
        if not fields or rng.random() < 0.5:
            fields["scale_filler"] = {"type": "constant", "value": 20}
        for _ in range(3):
            yield single("Normalize", image(rng, 1, 6), {"norm_param": fields} if fields else {})


def softmax(rng: Rng) -> Iterator[Net]:
    for axis, _ in product((None, 1, 2, 3, -1, -2, -3), range(5)):
        yield single("Softmax", image(rng), {} if axis is None else {"softmax_param": {"axis": axis}})
    for axis in (None, 1, -1):
        fields = {} if axis is None else {"softmax_param": {"axis": axis}}
        yield single("Softmax", image(rng), fields, bottoms=["rows"], before=[dense("rows", pick(rng, (2, 3, 7)))])


GRID = {
    "BatchNorm": batch_norm,
    "BN": bn,
    "LRN across": lrn_across,
    "LRN within": lrn_within,
    "MVN": mvn,
    "Normalize": normalize,
    "Softmax": softmax,
}
