"""Nets that are wired at random: blobs read before and after a layer works on them in place, several outputs."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_reference.cases.parts import Rng, pick
from caffe_reference.net import Layer, Net

_IN_PLACE = ("ReLU", "PReLU", "BatchNorm", "Scale", "Bias", "Sigmoid", "Power", "Dropout")
_FIELDS = {
    "BatchNorm": {"batch_norm_param": {"use_global_stats": True}},
    "Scale": {"scale_param": {"bias_term": True}},
    "Power": {"power_param": {"scale": 0.5, "shift": 0.25}},
}


def nets(rng: Rng) -> Iterator[Net]:
    for _ in range(400):
        yield _net(rng)


def _net(rng: Rng) -> Net:
    channels = int(pick(rng, (2, 3)))
    layers = [_conv("start", "data", "start", channels)]
    blobs = ["start"]
    for place in range(int(rng.integers(3, 10))):
        layer = _layer(rng, f"l{place}", blobs, channels)
        layers.append(layer)
        blobs += [top for top in layer.tops if top not in blobs]
        if layer.type == "BatchNorm" and rng.random() < 0.5:
            bottom, top = layer.tops[0], pick(rng, (layer.tops[0], f"s{place}"))
            layers.append(Layer("Scale", f"s{place}", [bottom], [top], _FIELDS["Scale"]))
            blobs += [top] if top not in blobs else []
    return Net((2, int(rng.integers(1, 4)), int(rng.integers(1, 4))), layers)


def _conv(name: str, bottom: str, top: str, channels: int) -> Layer:
    fields = {"num_output": channels, "kernel_size": 1}
    return Layer("Convolution", name, [bottom], [top], {"convolution_param": fields})


def _layer(rng: Rng, name: str, blobs: list[str], channels: int) -> Layer:
    bottom = pick(rng, blobs)
    draw = rng.random()
    if draw < 0.15:
        return _conv(name, bottom, name, channels)
    if draw < 0.35 and len(blobs) > 1:
        others = [str(blob) for blob in rng.choice(blobs, 2, replace=False)]
        return Layer("Eltwise", name, others, [name])
    kind = pick(rng, _IN_PLACE)
    return Layer(kind, name, [bottom], [bottom if rng.random() < 0.5 else name], _FIELDS.get(kind, {}))


GRID = {"tangled nets": nets}
