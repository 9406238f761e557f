"""Parity: normalisations against onnxruntime, or their formula where it has no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from one_node import Array, Fragment, check, model, normal

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.graph.roles import is_parameter

pytest.importorskip("onnxruntime")

X = normal(2, 6, 5, 4)
OPSETS = (7, 9, 13, 18, 22)


@pytest.mark.parity
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("shape", [(2, 6, 5, 4), (2, 6, 7), (2, 6, 3, 2, 4), (3, 6)])
def test_batch_normalization(opset: int, shape: tuple[int, ...]) -> None:
    stored = (normal(6), normal(6), normal(6), np.abs(normal(6)) + 0.1)
    check("BatchNormalization", normal(*shape), *stored, opset=opset, epsilon=1e-3)


@pytest.mark.parity
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("shape", [(2, 6, 5, 4), (2, 6, 7), (2, 6, 3, 2, 4), (1, 6, 1, 1)])
def test_instance_normalization(opset: int, shape: tuple[int, ...]) -> None:
    check("InstanceNormalization", normal(*shape), normal(6), normal(6), opset=opset, epsilon=1e-3)


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(2, 6, 5, 4), (2, 6, 7), (2, 6, 3, 2, 4), (1, 6, 1, 1)])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("opset", [21, 22])
def test_group_normalization_with_channel_scales(shape: tuple[int, ...], groups: int, opset: int) -> None:
    fragment = check(
        "GroupNormalization", normal(*shape), normal(6), normal(6), opset=opset, num_groups=groups, epsilon=1e-3
    )
    trained = {name for name, value in fragment.graph.initializers.items() if is_parameter(value)}
    assert trained == {"s0", "s1"}


@pytest.mark.parity
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("opset", [18, 20])
def test_group_normalization_with_group_scales(groups: int, opset: int) -> None:
    """ONNX withdrew this revision; its formula is the reference."""
    scale, bias = normal(groups), normal(groups)
    fragment = Fragment(model("GroupNormalization", X, (scale, bias), opset, {"num_groups": groups}))
    grouped = X.reshape(2, groups, -1).astype(np.float64)
    plain = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + 1e-5)
    want = (plain * scale[:, None] + bias[:, None]).reshape(X.shape)
    np.testing.assert_allclose(fragment(torch.from_numpy(X))[0].numpy(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2])
@pytest.mark.parametrize("biased", [True, False])
def test_layer_normalization(axis: int, biased: bool) -> None:
    shape = X.shape[axis:]
    stored = (normal(*shape), normal(*shape)) if biased else (normal(*shape),)
    for opset in (17, 18, 22):
        check("LayerNormalization", X, *stored, opset=opset, axis=axis, epsilon=1e-3)


@pytest.mark.parity
def test_layer_normalization_with_a_broadcast_scale() -> None:
    check("LayerNormalization", X, normal(5, 1), normal(1, 4), axis=2)


@pytest.mark.parity
def test_statistics_of_layer_normalization() -> None:
    check("LayerNormalization", X, normal(5, 4), normal(5, 4), axis=2, outputs=("y", "mean", "inverse"))
    unread = model("LayerNormalization", X, (normal(4),), 18, {}, ("y", "mean", "inverse"))
    del unread.graph.output[1:]
    assert len(next(iter(Fragment(unread).graph)).outputs) == 1


@pytest.mark.parity
@pytest.mark.parametrize("axis", [0, 1, 3, -1])
def test_rms_normalization(axis: int) -> None:
    scale = normal(*X.shape[axis:])
    fragment = check("RMSNormalization", X, scale, opset=23, axis=axis, epsilon=1e-3)
    assert {name for name, value in fragment.graph.initializers.items() if is_parameter(value)} == {"s0"}


@pytest.mark.parity
@pytest.mark.parametrize("opset", [9, 13, 18, 22])
@pytest.mark.parametrize("axes", [None, [2, 3], [1, 2, 3]])
def test_mean_variance_normalization(opset: int, axes: list[int] | None) -> None:
    attributes = {} if axes is None else {"axes": axes}
    check("MeanVarianceNormalization", X, opset=opset, **attributes)


@pytest.mark.properties
def test_flat_image_has_a_finite_gradient() -> None:
    """The gradient of MeanVarianceNormalization of a flat image is finite."""
    x = torch.ones(X.shape, requires_grad=True)
    y = Fragment(model("MeanVarianceNormalization", X, (), 13, {"axes": [2, 3]}))(x)[0]
    y.sum().backward()
    assert x.grad is not None
    assert (y.abs().sum(), bool(torch.isfinite(x.grad).all())) == (0, True)


@pytest.mark.parity
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("opset", [7, 18, 22])
def test_lp_normalization(p: int, axis: int, opset: int) -> None:
    with_zeros = np.concatenate([X, np.zeros_like(X[:1])])
    check("LpNormalization", with_zeros, opset=opset, p=p, axis=axis)


@pytest.mark.parity
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("size", [1, 3, 5, 11, 13, 101])
def test_lrn(opset: int, size: int) -> None:
    check("LRN", X, opset=opset, size=size, alpha=0.3, beta=0.6, bias=1.5)


def refused(
    op: str, opset: int, stored: tuple[Array, ...], attributes: dict[str, Any], *outputs: str
) -> onnx.ModelProto:
    return model(op, X, stored, opset, attributes, outputs or ("y",))


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("proto", "text"),
    [
        (refused("GroupNormalization", 21, (normal(6), normal(6)), {"num_groups": 4}), "6 channels in 4 groups"),
        (refused("GroupNormalization", 21, (normal(5), normal(5)), {"num_groups": 3}), "scale and bias"),
        (refused("GroupNormalization", 21, (normal(6), normal(6)), {"num_groups": 3, "stash_type": 10}), "stash_type"),
        (refused("RMSNormalization", 23, (normal(4),), {"axis": 7}), "axis 7"),
        (refused("LpNormalization", 18, (), {"p": 3}), "p 3"),
        (refused("BatchNormalization", 18, (normal(6),) * 4, {"training_mode": 1}), "training_mode"),
        (refused("BatchNormalization", 9, (normal(6),) * 4, {}, "y", "m", "v", "sm", "sv"), "running statistics"),
    ],
)
def test_inexpressible_normalisations_are_refused(proto: onnx.ModelProto, text: str) -> None:
    with pytest.raises((InvalidModel, UnsupportedOp), match=text) as caught:
        Fragment(proto)
    assert "node" in caught.value.problems[0].place
