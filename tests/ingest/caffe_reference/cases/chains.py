"""Small whole nets: layers in place, shared inputs, normalisation pairs, joins."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_reference.cases.parts import Rng, pick
from caffe_reference.net import Layer, Net, Word


def nets(rng: Rng) -> Iterator[Net]:
    for _ in range(500):
        yield _net(rng)


def _net(rng: Rng) -> Net:
    image = (int(pick(rng, (2, 3, 4))), int(rng.integers(6, 11)), int(rng.integers(6, 11)))
    layers: list[Layer] = []
    blob = "data"
    for stage in range(int(rng.integers(1, 4))):
        channels = int(pick(rng, (2, 4, 6)))
        layers.extend(_block(rng, stage, blob, channels))
        blob = layers[-1].tops[0]
        if rng.random() < 0.6:
            layers.extend(_residual(rng, stage, blob, channels))
            blob = layers[-1].tops[0]
        if stage == 0:
            pool = {"pool": Word(pick(rng, ("MAX", "AVE"))), "kernel_size": 3, "stride": 2, "pad": int(rng.integers(2))}
            layers.append(Layer("Pooling", f"pool{stage}", [blob], [f"pool{stage}"], {"pooling_param": pool}))
            blob = f"pool{stage}"
    layers.append(Layer("InnerProduct", "fc", [blob], ["fc"], {"inner_product_param": {"num_output": 8}}))
    if rng.random() < 0.5:
        # Large scores would make the result hang on their last float32 digits.
        layers.append(Layer("Power", "small", ["fc"], ["small"], {"power_param": {"scale": 0.01}}))
        layers.append(Layer("Softmax", "prob", ["small"], ["prob"]))
    return Net(image, layers)


def _conv(name: str, bottom: str, top: str, channels: int, kernel: int, bias: bool) -> Layer:
    fields = {"num_output": channels, "kernel_size": kernel, "pad": kernel // 2, "bias_term": bias}
    return Layer("Convolution", name, [bottom], [top], {"convolution_param": fields})


def _block(rng: Rng, stage: int, bottom: str, channels: int) -> list[Layer]:
    """Convolution, BatchNorm and Scale, and an activation, all in place."""
    top = f"conv{stage}"
    layers = [_conv(f"conv{stage}", bottom, top, channels, int(pick(rng, (1, 3))), bool(rng.random() < 0.5))]
    if rng.random() < 0.7:
        layers.append(Layer("BatchNorm", f"bn{stage}", [top], [top], {"batch_norm_param": {"use_global_stats": True}}))
        layers.append(Layer("Scale", f"scale{stage}", [top], [top], {"scale_param": {"bias_term": True}}))
    kind = pick(rng, ("ReLU", "PReLU", "ELU", "Sigmoid"))
    return [*layers, Layer(kind, f"act{stage}", [top], [top])]


def _residual(rng: Rng, stage: int, bottom: str, channels: int) -> list[Layer]:
    """Two ways that meet again, by sum or side by side."""
    layers = [
        _conv(f"left{stage}", bottom, f"left{stage}", channels, 3, True),
        Layer("ReLU", f"relu{stage}", [f"left{stage}"], [f"left{stage}"]),
    ]
    kind = pick(rng, ("Eltwise", "Concat"))
    return [*layers, Layer(kind, f"join{stage}", [bottom, f"left{stage}"], [f"join{stage}"])]


GRID = {"whole nets": nets}
