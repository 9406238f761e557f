"""Parity of the layers that are functions of one number, reductions and repetitions, against Caffe's formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from prototxt_nets import Array, assert_close, evaluate, image, net, randomised, trainable

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.graph import attribute

FLAT = 'layer { name: "flat" type: "Flatten" bottom: "x" top: "flat" }'

Formula = Callable[[Array], Array]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


FUNCTIONS: list[tuple[str, Formula]] = [
    ('type: "ReLU"', lambda x: np.maximum(x, 0)),
    ('type: "ReLU" relu_param { negative_slope: 0.2 engine: CAFFE }', lambda x: np.where(x > 0, x, 0.2 * x)),
    ('type: "ReLU6"', lambda x: np.clip(x, 0, 6)),
    ('type: "ELU" elu_param { alpha: 0.5 }', lambda x: np.where(x > 0, x, 0.5 * np.expm1(x))),
    ('type: "Sigmoid"', sigmoid),
    ('type: "TanH"', np.tanh),
    ('type: "BNLL"', softplus),
    ('type: "AbsVal"', np.abs),
    ('type: "Clip" clip_param { min: -0.5 max: 0.25 }', lambda x: np.clip(x, -0.5, 0.25)),
    ('type: "Swish"', lambda x: x * sigmoid(x)),
    ('type: "Swish" swish_param { beta: 1.5 }', lambda x: x * sigmoid(1.5 * x)),
    ('type: "Mish"', lambda x: x * np.tanh(softplus(x))),
    ('type: "HardSwish"', lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ('type: "HSwish"', lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ('type: "HardSigmoid" hardsigmoid_param { alpha: 0.2 beta: 0.5 }', lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    ('type: "Softmax"', lambda x: softmax(x, 1)),
    ('type: "Softmax" softmax_param { axis: -1 }', lambda x: softmax(x, 3)),
    ('type: "Softmax" softmax_param { axis: 2 engine: CAFFE }', lambda x: softmax(x, 2)),
    ('type: "Dropout" dropout_param { dropout_ratio: 0.3 }', lambda x: x),
    ('type: "Dropout" dropout_param { dropout_ratio: 0.3 scale_train: false }', lambda x: 0.7 * x),
    ('type: "Exp"', np.exp),
    ('type: "Exp" exp_param { scale: 0.5 shift: 0.25 }', lambda x: np.exp(0.5 * x + 0.25)),
    ('type: "Exp" exp_param { base: 2 }', lambda x: 2**x),
    ('type: "Exp" exp_param { base: 3 scale: -1 shift: 0.5 }', lambda x: 3 ** (0.5 - x)),
    ('type: "Exp" exp_param { base: 1 shift: 2 }', np.ones_like),
]

POSITIVE: list[tuple[str, Formula]] = [
    ('type: "Log"', np.log),
    ('type: "Log" log_param { scale: 2 shift: 0.5 }', lambda x: np.log(2 * x + 0.5)),
    ('type: "Log" log_param { base: 10 shift: 1 }', lambda x: np.log10(x + 1)),
    ('type: "Log" log_param { base: 0.5 }', lambda x: np.log(x) / math.log(0.5)),
]

POWERS = [
    *((1.0, scale, shift) for scale in (1.0, -2.0, 0.0) for shift in (0.0, 0.5)),
    *((2.0, scale, shift) for scale in (1.0, -2.0, 0.0) for shift in (0.0, -0.5)),
    *((3.0, 0.5, -1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 2.0, -3.0), (0.5, 0.0, 2.0), (-1.0, 0.0, 4.0)),
]

POSITIVE_POWERS = [(0.5, 1.0, 0.0), (-0.75, 0.5, 1.0), (-1.0, 1.0, 0.0), (0.3, 2.0, 0.25)]


@pytest.mark.parity
@pytest.mark.parametrize(("body", "formula"), FUNCTIONS, ids=[body for body, _ in FUNCTIONS])
def test_functions(body: str, formula: Formula) -> None:
    graph, x = net(body), 3 * image()
    assert_close(evaluate(graph, x)[0], formula(x.astype(np.float64)))
    assert trainable(graph) == 0


@pytest.mark.parity
@pytest.mark.parametrize(("body", "formula"), POSITIVE, ids=[body for body, _ in POSITIVE])
def test_logarithms(body: str, formula: Formula) -> None:
    graph, x = net(body), image(positive=True)
    assert_close(evaluate(graph, x)[0], formula(x.astype(np.float64)))
    assert trainable(graph) == 0


@pytest.mark.parity
@pytest.mark.parametrize(("power", "scale", "shift"), [*POWERS, *POSITIVE_POWERS])
def test_power(power: float, scale: float, shift: float) -> None:
    text = f'type: "Power" power_param {{ power: {power} scale: {scale} shift: {shift} }}'
    if (power, scale, shift) == (1.0, 1.0, 0.0):
        with pytest.raises(InvalidModel, match="only pass the input on"):
            net(text)
        return
    graph, x = net(text), image(positive=(power, scale, shift) in POSITIVE_POWERS)
    assert_close(evaluate(graph, x)[0], (shift + scale * x.astype(np.float64)) ** power)
    assert trainable(graph) == 0


@pytest.mark.golden
def test_power_emits_no_idle_nodes() -> None:
    """A factor of 1, a shift of 0 and a power of 1 get no node."""

    def ops(text: str) -> list[str]:
        return [node.op_type for node in net(f'type: "Power" power_param {{ {text} }}').nodes]

    assert ops("scale: 2") == ["Mul"]
    assert ops("shift: 2") == ["Add"]
    assert ops("power: 2") == ["Pow"]
    assert ops("scale: -1 shift: 1 power: 3") == ["Mul", "Add", "Pow"]
    assert net('type: "Power" power_param { scale: 2 }').nodes[0].name == "l"


@pytest.mark.parity
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_prelu(shared: bool, flat: bool) -> None:
    body = f'type: "PReLU" {"bottom: " + chr(34) + "flat" + chr(34) if flat else ""} prelu_param {{ channel_shared: '
    graph = net(body + f"{str(shared).lower()} }}", before=FLAT if flat else "")
    x, w = image(), randomised(graph)["l.weight"]
    channels = 60 if flat else 3
    assert w.size == trainable(graph) == (1 if shared else channels)
    data = x.reshape(2, -1) if flat else x
    assert_close(evaluate(graph, x)[0], np.where(data > 0, data, data * w[None]))


REDUCTIONS: list[tuple[str, Callable[..., Array]]] = [
    ("SUM", np.sum),
    ("ASUM", lambda x, axis: np.abs(x).sum(axis)),
    ("SUMSQ", lambda x, axis: (x**2).sum(axis)),
    ("MEAN", np.mean),
]


@pytest.mark.parity
@pytest.mark.parametrize("axis", [1, 2, 3, -1, -3])
@pytest.mark.parametrize("coeff", [1.0, -0.5])
@pytest.mark.parametrize(("name", "formula"), REDUCTIONS, ids=[name for name, _ in REDUCTIONS])
def test_reduction(name: str, formula: Callable[..., Array], coeff: float, axis: int) -> None:
    graph = net(f'type: "Reduction" reduction_param {{ operation: {name} axis: {axis} coeff: {coeff} }}')
    x = image()
    axes = tuple(range(axis % 4, 4))
    assert_close(evaluate(graph, x)[0], coeff * formula(x.astype(np.float64), axis=axes), atol=1e-5)
    assert trainable(graph) == 0


@pytest.mark.golden
def test_reduction_by_enum_number() -> None:
    """Caffe's enum of reductions counts from 1."""
    for number, name in enumerate(("SUM", "ASUM", "SUMSQ", "MEAN"), 1):
        by_number = net(f'type: "Reduction" reduction_param {{ operation: {number} axis: 1 }}')
        by_name = net(f'type: "Reduction" reduction_param {{ operation: {name} axis: 1 }}')
        assert [node.op_type for node in by_number.nodes] == [node.op_type for node in by_name.nodes]


@pytest.mark.parity
@pytest.mark.parametrize("axis", [1, 2, 3, -1])
@pytest.mark.parametrize("tiles", [2, 3])
def test_tile(axis: int, tiles: int) -> None:
    graph, x = net(f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}'), image()
    repeats = [1, 1, 1, 1]
    repeats[axis] = tiles
    assert_close(evaluate(graph, x)[0], np.tile(x, repeats))


@pytest.mark.golden
def test_tile_of_one_is_its_input() -> None:
    after = net('type: "ReLU" bottom: "t"', before='layer { name: "t" type: "Tile" bottom: "x" top: "t" '
                'tile_param { tiles: 1 } }')  # fmt: skip
    assert [node.op_type for node in after.nodes] == ["Relu"]


@pytest.mark.parity
def test_in_place_layers_of_several_nodes() -> None:
    swish = 'layer { name: "s" type: "Swish" bottom: "x" top: "x" swish_param { beta: 2 } }'
    graph = net('type: "Power" bottom: "x" top: "x" power_param { scale: 2 shift: 1 }', before=swish)
    x = image()
    assert_close(evaluate(graph, x)[0], 2 * x * sigmoid(2.0 * x) + 1)
    assert graph.outputs[0].name == "l"


@pytest.mark.golden
def test_unscaled_dropout_keeps_its_ratio() -> None:
    """A Dropout with scale_train false stays a Dropout for training; the Mul after it scales at inference."""
    graph = net('type: "Dropout" dropout_param { dropout_ratio: 0.25 scale_train: false }')
    assert [node.op_type for node in graph.nodes] == ["Dropout", "Mul"]
    assert attribute(graph.nodes[0], "seed") is None


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('type: "Power" power_param { power: -1 scale: 0 }', "no number"),
        ('type: "Power" power_param { power: 0.5 scale: 0 shift: -1 }', "no number"),
        ('type: "Power" power_param { exponent: 2 }', 'unknown field "exponent"'),
        ('type: "Exp" exp_param { base: 0 }', "base 0"),
        ('type: "Exp" exp_param { base: -2 }', "positive, or -1"),
        ('type: "Exp" exp_param { shift: 1000 }', "overflows"),
        ('type: "Log" log_param { base: 1 }', "base 1"),
        ('type: "Clip" clip_param { min: 1 }', "no max"),
        ('type: "Clip"', "no min"),
        ('type: "Clip" clip_param { min: 1 max: 0 }', "clips from 1 to 0"),
        ('type: "HardSigmoid"', "forks of Caffe disagree"),
        ('type: "Dropout" dropout_param { dropout_ratio: 1 }', "drops 1"),
        ('type: "Softmax" softmax_param { axis: 0 }', "batch axis"),
        ('type: "Reduction"', "batch axis"),
        ('type: "Reduction" reduction_param { axis: 4 }', "no axis 4"),
        ('type: "Reduction" reduction_param { operation: 0 axis: 1 }', "no operation 0"),
        ('type: "Reduction" reduction_param { operation: MAX axis: 1 }', "must be one of"),
        ('type: "Tile"', "no tiles"),
        ('type: "Tile" tile_param { tiles: 0 }', "from 1 to"),
        ('type: "Tile" tile_param { tiles: 2 axis: 0 }', "batch axis"),
        ('type: "Tile" tile_param { tiles: 999999 }', ""),
    ],
)
def test_faults_are_located(body: str, words: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        net(body, shape=(3, 1024, 1024) if "999999" in body else (3, 4, 5))
    assert words in str(caught.value)
    assert caught.value.problems[0].line == 3


@pytest.mark.abuse
@pytest.mark.parametrize(
    "kind", ["Python", "LSTM", "Threshold", "GELU", "ROIPooling", "BatchReindex", "Filter", "Embed"]
)
def test_known_unsupported_layers_get_advice(kind: str) -> None:
    with pytest.raises(UnsupportedOp) as caught:
        net(f'type: "{kind}"')
    assert caught.value.problems[0].advice


@pytest.mark.golden
def test_arg_max_is_dropped() -> None:
    scores = 'layer { name: "p" type: "Softmax" bottom: "x" top: "p" }'
    graph = net('type: "ArgMax" bottom: "p" argmax_param { axis: 1 }', before=scores)
    assert [value.name for value in graph.outputs] == ["p"]
    assert any("ArgMax" in note for note in graph.notes)
