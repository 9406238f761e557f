"""Every BatchNormalization that is not folded says why, and each reason can be reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import pytest

from trunkline.export.exporter import export_model
from trunkline.export.formats.caffe_files import export_caffe
from trunkline.export.passes import not_folded, optimise

if TYPE_CHECKING:
    from tests.export.conftest import Net, Nets

pytestmark = pytest.mark.golden


def convolved(net: Net, *, bias: bool = False) -> ir.Value:
    """A convolution on the image, of two channels."""
    return net.conv(net.image("image", (3, 6, 6)), net.weights("conv", (2, 3, 1, 1), bias=bias), "conv")


def normalised(net: Net, x: ir.Value, channels: int = 2) -> ir.Value:
    return net.bn(x, net.bn_weights("bn", channels), "bn")


def at_the_image(net: Net) -> list[ir.Value]:
    return [normalised(net, net.image("image", (3, 6, 6)), 3)]


def after_a_sum(net: Net) -> list[ir.Value]:
    x = net.image("image", (3, 6, 6))
    return [normalised(net, net.node("Add", [x, x], name="sum"), 3)]


def of_each_batch(net: Net) -> list[ir.Value]:
    y = normalised(net, convolved(net))
    y.producer().attributes["training_mode"] = ir.AttrInt64("training_mode", 1)
    return [y]


def with_computed_scale(net: Net) -> list[ir.Value]:
    x = convolved(net)
    scale, *rest = net.bn_weights("bn", 2)
    return [net.bn(x, [net.node("Neg", [scale], name="negated"), *rest], "bn")]


def of_an_output(net: Net) -> list[ir.Value]:
    x = convolved(net)
    return [normalised(net, x), x]


def of_a_value_read_twice(net: Net) -> list[ir.Value]:
    x = convolved(net)
    return [net.node("Add", [normalised(net, x), x], name="sum")]


def after_a_computed_weight(net: Net) -> list[ir.Value]:
    x = net.image("image", (3, 6, 6))
    weight = net.node("Neg", net.weights("conv", (2, 3, 1, 1)), name="negated")
    return [normalised(net, net.conv(x, [weight], "conv"))]


def after_a_matrix(net: Net) -> list[ir.Value]:
    x = net.node("Flatten", [net.image("image", (3, 2, 2))], name="flat", attributes={"axis": 1})
    weights = [net.draw("fc.weight", (12, 5)), net.draw("fc.bias", (1, 5))]
    y = net.node("Gemm", [x, *weights], name="fc")
    weights[1].const_value = ir.Tensor(np.ones((4, 5), np.float32))
    return [normalised(net, y, 5)]


def of_a_shared_weight(net: Net) -> list[ir.Value]:
    x = net.image("image", (3, 6, 6))
    weights = net.weights("conv", (2, 3, 1, 1))
    return [normalised(net, net.conv(x, weights, "conv")), net.conv(net.node("Neg", [x], name="n"), weights, "plain")]


def of_negative_variance(net: Net) -> list[ir.Value]:
    y = normalised(net, convolved(net))
    y.producer().inputs[4].const_value = ir.Tensor(np.array([-1, 1], np.float32))
    return [y]


def of_huge_weights(net: Net) -> list[ir.Value]:
    x = convolved(net)
    y = normalised(net, x)
    x.producer().inputs[1].const_value = ir.Tensor(np.full((2, 3, 1, 1), 3e38, np.float32))
    y.producer().inputs[1].const_value = ir.Tensor(np.full(2, 1e3, np.float32))
    return [y]


REASONS = [
    (at_the_image, 'nothing comes before it: it reads "image" itself'),
    (after_a_sum, 'it reads Add "sum", which is none of Conv, ConvTranspose, Gemm'),
    (of_each_batch, "it normalises by the statistics of each batch (training_mode is 1)"),
    (with_computed_scale, "its scale is computed, not stored"),
    (of_an_output, 'the result of Conv "conv" is an output as well'),
    (of_a_value_read_twice, 'the result of Conv "conv" is read by other nodes as well'),
    (after_a_computed_weight, 'the weight of Conv "conv" is computed, not stored'),
    (after_a_matrix, 'the bias of Gemm "fc" is a whole matrix, not one number a channel'),
    (
        of_a_shared_weight,
        'the weight "conv.weight" is shared with nodes that fold otherwise; it would be stored twice',
    ),
    (of_negative_variance, "its variance plus epsilon is not positive everywhere"),
    (of_huge_weights, "the folded weight or bias would not be finite as float32"),
]


@pytest.mark.parametrize(("plant", "reason"), REASONS)
def test_each_refusal_has_its_reason(nets: type[Nets], plant: Callable[[Net], list[ir.Value]], reason: str) -> None:
    """The reason is that of the graph as it is; storing computed weights first is another pass's work."""
    net = nets.Net()
    graph = net.finish(plant(net))
    assert [left.to_json() for left in not_folded(graph.model.graph)] == [{"node": "bn", "reason": reason}]


def test_nothing_is_said_of_what_folds(nets: type[Nets]) -> None:
    assert not not_folded(optimise(nets.columns(tied=True)).model.graph)


@pytest.mark.parametrize(("fold", "expected"), [(True, ["bn"]), (False, [])])
def test_an_export_names_what_it_left(nets: type[Nets], tmp_path: Path, fold: bool, expected: list[str]) -> None:
    """Only where folding was asked for: else every BatchNormalization is left, as it should be."""
    net = nets.Net()
    graph = net.finish(after_a_sum(net))
    results = [
        export_model(graph, None, tmp_path / "a.onnx", fold=fold, parity_inputs=1),
        export_caffe(graph, tmp_path / "a.prototxt", fold=fold, parity_inputs=1)[0],
    ]
    assert [[left.node for left in result.not_folded] for result in results] == [expected, expected]
