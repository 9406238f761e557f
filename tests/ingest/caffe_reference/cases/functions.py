"""Functions of one number, on maps and on rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from caffe_reference.cases.parts import Rng, conv, flat, image, same, single
from caffe_reference.net import Layer, Net

Settings = Sequence[dict[str, Any]]


def _settings(**options: Sequence[Any]) -> Settings:
    """Every combination; ``None`` leaves a field out."""
    rows = product(*options.values())
    return [{name: value for name, value in zip(options, row, strict=True) if value is not None} for row in rows]


def _function(kind: str, param: str, settings: Settings = ({},), *, repeat: int = 1, positive: bool = False):
    """The function of a map, in place and not, and of rows."""

    def draw(rng: Rng) -> Iterator[Net]:
        start = [same("x", kind="AbsVal" if positive else "TanH")]
        for chosen, _ in product(settings, range(repeat)):
            fields = {param: chosen} if chosen else {}
            yield single(kind, image(rng), fields, bottoms=["x"], before=start)
            yield single(kind, image(rng), fields, bottoms=["x"], tops=["x"], before=start)
            rows = [flat("rows"), same("x", "rows", "AbsVal" if positive else "TanH")]
            yield single(kind, image(rng), fields, bottoms=["x"], before=rows)
            if not positive:
                yield single(kind, image(rng), fields, bottoms=["x"], before=[conv("x", 3)])

    return draw


def relu(rng: Rng) -> Iterator[Net]:
    yield from _function("ReLU", "relu_param", _settings(negative_slope=(None, 0, 0.1, 0.25, 1, -0.5, 1.5)))(rng)
    layer = Layer("ReLU", "again", ["y"], ["y"])
    for _ in range(10):
        net = single("ReLU", image(rng), {"relu_param": {"negative_slope": 0.3}})
        yield Net(net.image, [*net.layers, layer])


GRID = {
    "ReLU": relu,
    "PReLU": _function("PReLU", "prelu_param", _settings(channel_shared=(None, True, False)), repeat=6),
    "ELU": _function("ELU", "elu_param", _settings(alpha=(None, 0.5, 1, 2, 0.1)), repeat=2),
    "Sigmoid": _function("Sigmoid", "sigmoid_param", repeat=5),
    "TanH": _function("TanH", "tanh_param", repeat=5),
    "AbsVal": _function("AbsVal", "absval_param", repeat=5),
    "BNLL": _function("BNLL", "bnll_param", repeat=5),
    "Power": _function(
        "Power",
        "power_param",
        _settings(power=(None, 0, 0.5, 1, 2, 3, -1, -0.5), scale=(None, 0, 0.5, 2, -1), shift=(None, 1, 2.5, -1)),
        positive=True,
    ),
    "Power of any sign": _function(
        "Power", "power_param", _settings(power=(None, 0, 1, 2, 3), scale=(None, 0, 0.5, -2), shift=(None, 1, -0.5))
    ),
    "Exp": _function(
        "Exp", "exp_param", _settings(base=(None, -1, 2, 10, 0.5), scale=(None, 0.5, -1, 0), shift=(None, 1, -0.5))
    ),
    "Log": _function(
        "Log", "log_param", _settings(base=(None, -1, 2, 10), scale=(None, 2, 0.5), shift=(0.25, 1, 3)), positive=True
    ),
    "Swish": _function("Swish", "swish_param", _settings(beta=(None, 1, 0.5, 2, -1)), repeat=2),
    "ReLU6": _function("ReLU6", "relu6_param", repeat=4),
    "Clip": _function("Clip", "clip_param", _settings(min=(0, -0.5), max=(0.25, 6)), repeat=2),
    "Dropout": _function(
        "Dropout", "dropout_param", _settings(dropout_ratio=(None, 0.1, 0.9), scale_train=(None, True, False))
    ),
}
