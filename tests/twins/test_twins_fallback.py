"""Operators without a twin: what onnx2torch is asked, and what the user is told."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from trunkline.errors import UnsupportedOp
from trunkline.graph.builder import GraphBuilder
from trunkline.twins.onnx2torch_fallback import foreign_op
from trunkline.twins.registry import make_op
from trunkline.twins.twin import Twin


def node_of(op: str, weight: bool = False) -> ir.Node:
    b = GraphBuilder("one")
    x = b.image("x", (3, 4, 4))
    inputs = [x, b.tensor("w", np.ones(3, np.float32))] if weight else [x]
    value = b.node(op, inputs, name="here")
    node = value.producer()
    assert node is not None
    return node


def forbid(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real = importlib.import_module

    def fail(name: str, package: str | None = None) -> types.ModuleType:
        if name.startswith("onnx2torch"):
            raise error
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", fail)


@pytest.mark.abuse
def test_missing_onnx2torch_gives_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnx2torch the message says what to do."""
    forbid(monkeypatch, ModuleNotFoundError("No module named 'onnx2torch'", name="onnx2torch"))
    with pytest.raises(UnsupportedOp) as caught:
        make_op(node_of("Trilu"))
    text = str(caught.value)
    assert "here: operator Trilu has no trainable twin" in text
    assert "pip install 'trunkline[onnx2torch]'" in text and "one function to one file" in text


@pytest.mark.abuse
@pytest.mark.parametrize(
    "error", [RuntimeError("operator torchvision::nms does not exist"), ImportError("boom"), OSError("so")]
)
def test_broken_torchvision_is_named(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A torchvision that does not load is named with its reason."""
    forbid(monkeypatch, error)
    with pytest.raises(UnsupportedOp, match="install a torchvision that matches torch") as caught:
        make_op(node_of("Trilu"))
    assert str(error) in str(caught.value)


@pytest.mark.abuse
def test_weights_are_never_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operators with weights are never handed to onnx2torch, which would copy them."""
    forbid(monkeypatch, AssertionError("must not be imported"))
    b = GraphBuilder("weights")
    weights = [b.tensor("boxes", np.ones((1, 4), np.float32)), b.tensor("image", np.zeros(1, np.int64))]
    x = b.node("RoiAlign", [b.image("x", (3, 4, 3)), *weights], name="align")
    with pytest.raises(UnsupportedOp, match=r"not asked for operators with weights \(boxes\)"):
        Twin(b.finish([x]))


class UpperTriangle(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.triu()


def fake_onnx2torch(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []

    def get_converter(op: str, version: int, domain: str) -> Any:
        asked.append((op, version, domain))
        if op != "Trilu":
            raise NotImplementedError("Converter is not implemented")
        mapping = types.SimpleNamespace(inputs=("x",), outputs=("here",))
        return lambda node, graph: types.SimpleNamespace(torch_module=UpperTriangle(), onnx_mapping=mapping)

    def onnx_graph(proto: Any) -> Any:
        return types.SimpleNamespace(nodes={node.name: node for node in proto.node})

    names = ["onnx2torch", "onnx2torch.node_converters", "onnx2torch.node_converters.registry", "onnx2torch.onnx_graph"]
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[2]].get_converter = get_converter  # type: ignore[attr-defined]
    modules[names[3]].OnnxGraph = onnx_graph  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return asked


@pytest.mark.golden
def test_foreign_operator_runs_in_a_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_onnx2torch(monkeypatch)
    b = GraphBuilder("triangle")
    x = b.node("Trilu", [b.image("x", (3, 4, 4))], name="here")
    twin = Twin(b.finish([b.node("Relu", [x], name="relu")]))
    image = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(twin(image)["relu"], image.triu().relu())
    assert asked == [("Trilu", 18, "")]


@pytest.mark.abuse
def test_operators_onnx2torch_lacks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_onnx2torch(monkeypatch)
    with pytest.raises(UnsupportedOp, match="it cannot either"):
        foreign_op(node_of("Cos"))
