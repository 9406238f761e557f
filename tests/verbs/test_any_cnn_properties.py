"""Properties of the whole line on whatever people have: every network can be shared, searched, lowered and exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from any_cnn import NAMES, backbone_named
from automtl_model import AutoMTL, AutoMTLOptions
from parameters import parameter_count
from plans import choose, light_heads, random_plan
from torch import Tensor

from trunkline.export.count import count_file
from trunkline.export.exporter import export_model
from trunkline.graph.graph import Graph, shape_of
from trunkline.ingest.read import read
from trunkline.sharing.lowering.executed_cost import cost_of_lowered
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import SharingPlan
from trunkline.sharing.units import find_units
from trunkline.twins.twin import Twin
from trunkline.verbs.build import Sharing, build

pytestmark = pytest.mark.properties

TASKS = ("a", "b")


@pytest.fixture(scope="module", params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Graph:
    return backbone_named(request.param)


def images(graph: Graph) -> Tensor:
    size = [size or 1 for size in shape_of(graph.input)[1:]]
    return torch.randn(2, *size, generator=torch.Generator().manual_seed(3))


def middle(graph: Graph) -> str:
    return str((len(find_units(graph, "block")) - 1) // 2)


def searched(graph: Graph, mixing: str) -> tuple[AutoMTL, Tensor]:
    """A supermodel and the loss of its first search step."""
    options = AutoMTLOptions(mixing=mixing)  # type: ignore[arg-type]
    model = AutoMTL(graph, light_heads(graph, TASKS), TASKS, options).double().train()
    model.mode("sample")
    torch.manual_seed(0)  # of dropout
    losses = [output.square().mean() for output in model(images(graph).double()).values()]
    return model, torch.stack([*losses, model.term("regularization"), model.term("cost").double()]).sum()


def gradients(model: AutoMTL) -> dict[str, Tensor | None]:
    return {name: weight.grad for group in model.groups().values() for name, weight in group.items()}


def shaken(model: AutoMTL) -> AutoMTL:
    """Move all weights apart, so that no two instances are equal; statistics stay positive."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for tensor in model.store.weights().values():
            tensor.mul_(0.9 + 0.2 * torch.rand(tensor.shape, generator=generator))
    return model.eval()


def chosen(model: AutoMTL, plan: SharingPlan, x: Tensor) -> Mapping[str, Tensor]:
    """What the supermodel computes when its policy is ``plan``."""
    choose(model, plan)
    with torch.no_grad():
        found: dict[str, Tensor] = model(x)
    return found


@pytest.mark.parametrize("sharing", ["all", "none", "middle"])
def test_a_built_model_costs_what_is_said(backbone: Graph, sharing: str, tmp_path: Path) -> None:
    """By the file's own count; all shared is half of none shared; and it takes any batch."""
    ways = {
        "all": Sharing(all_shared=True),
        "none": Sharing(independent=True),
        "middle": Sharing(share_until=middle(backbone)),
    }
    result = build(backbone, tmp_path / "m.onnx", tasks={"a": 2, "b": 1}, sharing=ways[sharing])
    again, count = read(result.path), count_file(result.path)
    assert [value.name for value in again.outputs] == ["a", "b"]
    assert result.cost.total.macs == count.macs
    assert result.cost.total.parameters == parameter_count(again) == count.parameters
    whole, part = result.cost.independent_backbone, result.cost.backbone
    assert (part.macs == whole.macs, part.parameters == whole.parameters) == ((sharing == "none"),) * 2
    if sharing == "all":
        assert (2 * part.macs, 2 * part.parameters) == (whole.macs, whole.parameters)
    x = images(backbone)
    with torch.no_grad():
        both, one = Twin(again).eval()(x), Twin(again).eval()(x[:1])
    for task in TASKS:
        torch.testing.assert_close(both[task][:1], one[task], rtol=1e-4, atol=1e-4 * float(one[task].abs().max()))


def test_a_search_step_reaches_every_weight(backbone: Graph) -> None:
    """With the same gradient whichever way options are mixed."""
    found, losses = {}, []
    for mixing in ("weight", "output"):
        model, loss = searched(backbone, mixing)
        loss.backward()
        found[mixing] = gradients(model)
        losses.append(loss.detach())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-8, atol=0)
    scale = max(float(grad.abs().max()) for grad in found["output"].values() if grad is not None)
    for name, expected in found["output"].items():
        grad = found["weight"][name]
        assert expected is not None and grad is not None, name
        torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-9 * scale)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_plan_lowers_to_its_supermodel(backbone: Graph, seed: int, tmp_path: Path) -> None:
    """What the policy computes when it is certain is what the lowered Graph does, and the exported file."""
    heads = light_heads(backbone, TASKS)
    model, x = shaken(AutoMTL(backbone, heads, TASKS)), images(backbone)
    plan = random_plan(backbone, TASKS, seed, sharing=(0.5, 0.9)[seed])
    expected, found = chosen(model, plan, x), lower(plan, backbone, heads)
    lowered, weights = found.graph, {name: tensor.numpy() for name, tensor in model.weights(found).items()}
    with torch.no_grad():
        outputs = Twin(lowered, weights=weights).eval()(x)
    for task in TASKS:
        torch.testing.assert_close(
            outputs[task], expected[task], rtol=1e-4, atol=1e-5 * float(outputs[task].abs().max())
        )
    cost = cost_of_lowered(lowered, backbone, heads, len(TASKS)).total
    result = export_model(lowered, weights, tmp_path / "m.onnx", parity_inputs=2)
    assert result.parity.passed
    assert result.macs <= cost.macs
