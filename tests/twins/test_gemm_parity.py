"""Parity: a Gemm with any bias that ONNX allows trains in the supermodel as it does in the lowered model's twin."""

from __future__ import annotations

import pytest
import torch
from automtl_model import AutoMTL, AutoMTLOptions
from backbones import conv

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.fillers import Filler
from trunkline.graph.graph import Graph
from trunkline.graph.verify import verify
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower
from trunkline.twins.twin import Twin

pytestmark = pytest.mark.parity

TASKS = ("a", "b")
SHAPES: list[tuple[int, ...] | None] = [None, (), (1,), (4,), (1, 1), (1, 4)]


def classifier(bias: tuple[int, ...] | None, *, frozen: str = "", **settings: float) -> Graph:
    b = GraphBuilder("classifier")
    x = b.node("Relu", [conv(b, b.image("image", (3, 8, 8)), "conv", 4)], name="relu")
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x], name="pool")], name="flat", attributes={"axis": 1})
    stored = {"fc.weight": (4, 4)} if bias is None else {"fc.weight": (4, 4), "fc.bias": bias}
    fillers = {"fc.weight": Filler("xavier"), "fc.bias": Filler("gaussian", 0.5)}
    inputs = [
        b.constant(name, fillers[name].draw(shape, name)) if name == frozen else b.weight(name, shape, fillers[name])
        for name, shape in stored.items()
    ]
    attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **settings}
    return verify(b.finish([b.node("Gemm", [x, *inputs], name="fc", attributes=attributes)]))


def trained(backbone: Graph, mixing: str) -> tuple[AutoMTL, torch.Tensor, dict[str, torch.Tensor]]:
    """A model in which every task is sure to share, with its output and gradients."""
    model = AutoMTL(backbone, {}, TASKS, AutoMTLOptions(mixing=mixing, prefer_shared=1000.0), seed=1).double()
    model.mode("soft")
    outputs = model(images())
    (outputs["a"].sin() + 2 * outputs["b"].sin()).sum().backward()
    gradients = {name: p.grad for name, p in model.weight_parameters().items() if p.grad is not None}
    return model, outputs["a"], gradients


def images() -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("mixing", ["weight", "output"])
@pytest.mark.parametrize("bias", SHAPES)
@pytest.mark.parametrize("settings", [{}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}])
def test_any_bias_trains_like_the_twin(bias: tuple[int, ...] | None, settings: dict[str, float], mixing: str) -> None:
    backbone = classifier(bias, **settings)
    model, y, gradients = trained(backbone, mixing)
    lowered = lower(all_shared(backbone, TASKS), backbone, {})
    twin = Twin(lowered.graph, weights=model.weights(lowered)).double()
    outputs = twin(images())
    (outputs["a"].sin() + 2 * outputs["b"].sin()).sum().backward()
    torch.testing.assert_close(y, outputs["a"], rtol=1e-10, atol=1e-12)
    for name, parameter in twin.trainable().items():
        assert gradients[name].shape == parameter.shape, name
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mixing", ["weight", "output"])
@pytest.mark.parametrize("frozen", ["fc.weight", "fc.bias"])
def test_what_is_frozen_has_one_instance(frozen: str, mixing: str) -> None:
    """A kernel or bias that does not train is the same for all options; the other one is copied and trains."""
    backbone = classifier((4,), frozen=frozen)
    model, y, gradients = trained(backbone, mixing)
    lowered = lower(all_shared(backbone, TASKS), backbone, {})
    torch.testing.assert_close(y, Twin(lowered.graph, weights=model.weights(lowered)).double()(images())["a"])
    assert frozen not in gradients
    assert gradients.keys() & {"fc.weight", "fc.bias"}
    assert f"{frozen}@1" not in model.store.weights()


@pytest.mark.parametrize("bias", SHAPES[1:])
def test_policy_learns_through_any_bias(bias: tuple[int, ...]) -> None:
    """The gradient of the choices, all three of them, is the same whether kernels or outputs are mixed."""
    found = []
    for mixing in ("weight", "output"):
        model = AutoMTL(classifier(bias), {}, TASKS, AutoMTLOptions(mixing=mixing), seed=1).double()
        with torch.no_grad():
            for place, tensor in enumerate(model.store.weights().values()):
                tensor.add_(0.1 * place)
        model.mode("sample", 3)
        sum(output.sin().sum() for output in model(images()).values()).backward()
        found.append([policy.grad for policy in model.policies])
    for mine, reference in zip(*found, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-12)
