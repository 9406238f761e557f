"""Parity: activations at every opset that has them, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from arrays import floats
from one_node import Array, Fragment, check, model, normal

from trunkline.errors import InvalidModel, UnsupportedOp

pytest.importorskip("onnxruntime")

X = normal(2, 4, 6, 5)
WITH_ZEROS = np.maximum(X, 0)
OPSETS = (7, 9, 13, 18, 22, 24)
CASES: list[tuple[str, int, tuple[Array, ...], dict[str, Any]]] = [
    ("Relu", 7, (), {}),
    ("LeakyRelu", 7, (), {"alpha": 0.2}),
    ("PRelu", 7, (normal(4, 1, 1),), {}),
    ("PRelu", 9, (normal(1),), {}),
    ("PRelu", 9, (normal(4, 6, 5),), {}),
    ("PRelu", 9, (normal(1, 1, 1, 5),), {}),
    ("Elu", 7, (), {"alpha": 1.5}),
    ("Celu", 12, (), {"alpha": 0.7}),
    ("Celu", 12, (), {}),
    ("Selu", 7, (), {}),
    ("Selu", 7, (), {"alpha": 1.2, "gamma": 0.8}),
    ("ThresholdedRelu", 10, (), {"alpha": 0.3}),
    ("ThresholdedRelu", 10, (), {}),
    ("HardSigmoid", 7, (), {"alpha": 0.3, "beta": 0.4}),
    ("HardSwish", 14, (), {}),
    ("Sigmoid", 7, (), {}),
    ("Tanh", 7, (), {}),
    ("Softplus", 7, (), {}),
    ("Softsign", 7, (), {}),
    ("Gelu", 20, (), {}),
    ("Gelu", 20, (), {"approximate": "tanh"}),
    ("Mish", 18, (), {}),
    ("Shrink", 9, (), {"lambd": 0.4, "bias": 0.1}),
    ("Shrink", 9, (), {}),
    ("Softmax", 7, (), {"axis": 1}),
    ("Softmax", 13, (), {}),
    ("LogSoftmax", 7, (), {"axis": 2}),
]


@pytest.mark.parity
@pytest.mark.parametrize(
    ("opset", "case"),
    [(opset, case) for case in CASES for opset in OPSETS if opset >= case[1]],
    ids=lambda part: part if isinstance(part, int) else part[0],
)
def test_activation(opset: int, case: Any) -> None:
    op, _first, stored, attributes = case
    for x in (X, 30 * X, WITH_ZEROS):
        check(op, x, *stored, opset=opset, **attributes)


@pytest.mark.parity
@pytest.mark.parametrize("alpha", [1.0, 0.5, 2.0])
def test_swish_by_definition(alpha: float) -> None:
    """onnxruntime has no kernel for it yet."""
    fragment = Fragment(model("Swish", X, (), 24, {"alpha": alpha}))
    want = X / (1 + np.exp(-alpha * X.astype(np.float64)))
    np.testing.assert_allclose(fragment(torch.from_numpy(X))[0].numpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("opset", [13, 18, 22])
@pytest.mark.parametrize("axis", [-1, 0, 2])
def test_hardmax_of_equal_maxima(opset: int, axis: int) -> None:
    check("Hardmax", np.round(X), opset=opset, axis=axis, trains=False)


@pytest.mark.parity
@pytest.mark.parametrize("opset", [7, 11, 13, 18])
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-0.5, 0.25), (None, 0.5), (0.5, None)])
def test_clip(opset: int, low: float | None, high: float | None) -> None:
    bounds = [None if bound is None else np.float32(bound).reshape(()) for bound in (low, high)]
    named = {name: bound for name, bound in (("min", low), ("max", high)) if bound is not None}
    stored, attributes = ((), named) if opset < 11 else (bounds, {})
    check("Clip", 6 * X, *stored, opset=opset, **attributes)


@pytest.mark.parity
def test_clipped_integers_keep_their_type() -> None:
    proto = model("Clip", np.arange(6).reshape(2, 3), (np.array(1), np.array(4)), 18, {})
    got = Fragment(proto)(torch.arange(6).reshape(2, 3))[0]
    assert (got.dtype, got.tolist()) == (torch.int64, [[1, 1, 2], [3, 4, 4]])


@pytest.mark.properties
@pytest.mark.parametrize(("op", "opset"), [("Gelu", 20), ("Swish", 24)])
def test_constants_of_a_formula_do_not_train(op: str, opset: int) -> None:
    """The constants of an activation that is written out as a formula do not train."""
    from trunkline.graph.roles import is_parameter

    graph = Fragment(model(op, X, (), opset, {"alpha": 2.0} if op == "Swish" else {})).graph
    assert not any(is_parameter(value) for value in graph.initializers.values())
    assert graph.num_nodes() > 1


@pytest.mark.abuse
def test_meaningless_settings_are_refused() -> None:
    with pytest.raises(UnsupportedOp, match="Celu with alpha 0"):
        Fragment(model("Celu", X, (), 18, {"alpha": 0.0}))
    with pytest.raises(InvalidModel, match='approximate "sigmoid"'):
        Fragment(model("Gelu", X, (), 20, {"approximate": "sigmoid"}))
    with pytest.raises(UnsupportedOp, match="2 numbers"):
        Fragment(model("Clip", X, (floats(0, 1),), 18, {}))
