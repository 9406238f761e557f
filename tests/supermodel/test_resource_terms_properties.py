"""What searches pay for: one group of options for all methods, each term exact on a space that can be enumerated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import conv
from method_work import method_for
from torch import Tensor

from trunkline.graph.builder import GraphBuilder
from trunkline.graph.cost import Cost, node_costs
from trunkline.graph.graph import Graph, name_of
from trunkline.graph.roles import is_parameter, size_of
from trunkline.recipe import Phase
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.cost_table import CostTable, NodeTime, UnitTime
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.plan import BackboneId, SharingPlan
from trunkline.supermodel.methods.base import Method, Setup
from trunkline.supermodel.methods.registry import methods

pytestmark = pytest.mark.properties

SEARCHED = tuple(name for name, kind in methods().items() if kind.kind == "searched")
COUNTS = ("macs", "parameters", "milliseconds")
TASKS = ("a", "b")


def tiny_net() -> Graph:
    """A stem that nothing is cheaper than, and a residual block of two convolutions."""
    b = GraphBuilder("tiny net")
    x = conv(b, b.image("image", (3, 8, 8)), "stem", 4, kernel=1)
    y = b.node("Relu", [conv(b, x, "first", 5)], name="relu")
    return b.finish([b.node("Add", [x, conv(b, y, "second", 4)], name="add")])


def table_for(backbone: Backbone, folder: Path) -> Path:
    """Write times that are alike for no two nodes."""
    names = [unit.name for unit in backbone.table("operator").units]
    table = CostTable(
        backbone=BackboneId(name=backbone.name, fingerprint=backbone.fingerprint),
        input_size=(8, 8),
        units={name: UnitTime(ms=1 + 0.5 * number) for number, name in enumerate(names)},
        nodes={"relu": NodeTime(ms=0.25), "add": NodeTime(ms=0.125)},
    )
    path = folder / "costs.json"
    table.save(path)
    return path


def setup(tasks: Sequence[str] = TASKS) -> Setup:
    return Setup(Backbone(tiny_net()), {}, tuple(tasks), dict.fromkeys(tasks, "depth"), 3, Phase(steps=4), 4)


def method_with(name: str, folder: Path, **options: Any) -> Method[Any]:
    made = setup()
    if options.get("cost") == "milliseconds":
        options["cost_table"] = table_for(made.backbone, folder)
    return method_for(name, made, folder, **options)


def with_logits(method: Method[Any]) -> Mapping[str, Tensor]:
    """Give the model a policy, in double precision, and return its logits."""
    generator = torch.Generator().manual_seed(11)
    model = method.model.double()
    groups = model.groups_of_choices.items()
    model.set_policy({key: torch.randn(group.shape, generator=generator).double() for key, group in groups})
    return dict(zip(model.groups_of_choices, model.policies, strict=True))


def real_cost(plan: SharingPlan, backbone: Backbone, count: str, times: Mapping[str, float]) -> float:
    """What the lowered model runs or stores: an instance once, however many nodes read it."""
    graph = lower(plan, backbone, {}).graph
    costs = node_costs(graph)
    if count == "macs":
        return float(sum(cost.macs for cost in costs.values()))
    if count == "parameters":
        return float(sum(size_of(value) for value in graph.initializers.values() if is_parameter(value)))
    return sum(
        times.get(name, 0.0) * _share(costs[name_of(node)], backbone.costs[name])
        for node in graph.nodes
        if (name := name_of(node).partition("@")[0]) in backbone.costs
    )


def _share(part: Cost, whole: Cost) -> float:
    """The share of its time that a node takes in a view: as much as it multiplies, or else as much as it gives."""
    if whole.macs:
        return part.macs / whole.macs
    return part.activation_bytes / whole.activation_bytes


def expectation(method: Method[Any], count: str, times: Mapping[str, float]) -> float:
    """Σ over all that may be chosen, each by its probability, of what the plan's model costs."""
    space, model = method.space, method.model
    p: dict[Any, list[float]] = {}
    for key, group in model.groups_of_choices.items():
        p.update(zip(group.choices, model.probabilities()[key].tolist(), strict=True))
    total = 0.0
    for numbers in itertools.product(*(range(space.option_count(choice)) for choice in space.choices)):
        picks = dict(zip(space.choices, numbers, strict=True))
        weight = math.prod(p[choice][number] for choice, number in picks.items())
        total += weight * real_cost(space.plan(picks), space.backbone, count, times)
    return total


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", SEARCHED)
def test_term_is_the_brute_force_expectation(name: str, count: str, tmp_path: Path) -> None:
    """Parameters are those of distinct instances that are kept, not of executions; times are a table's."""
    method = method_with(name, tmp_path, cost=count)
    with_logits(method)
    backbone = method.space.backbone
    times = CostTable.load(tmp_path / "costs.json", backbone).node_ms if count == "milliseconds" else {}
    whole = {
        "macs": float(sum(cost.macs for cost in backbone.costs.values())),
        "parameters": float(sum(cost.parameters for cost in backbone.costs.values())),
        "milliseconds": sum(times.values()),
    }
    expected = expectation(method, count, times) / (len(TASKS) * whole[count])
    assert 0 < expected < 1
    found = method.model.expected_cost(method.model.probabilities())
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)
    # What is added to the loss is this very number.
    assert float(method.model.terms(["cost"], {})["cost"].detach()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", SEARCHED)
def test_term_has_right_gradients(name: str, count: str, tmp_path: Path) -> None:
    """Of the logits, by finite differences."""
    method = method_with(name, tmp_path, cost=count)
    logits = with_logits(method)
    model = method.model
    found = torch.autograd.grad(model.expected_cost(model.probabilities()), list(logits.values()))
    assert any(float(gradient.abs().max()) > 1e-4 for gradient in found)
    for (key, row), gradient in zip(logits.items(), found, strict=True):
        content = row.detach().clone()
        for place in itertools.product(*map(range, content.shape)):
            costs = []
            for shift in (1e-5, -1e-5):
                moved = content.clone()
                moved[place] += shift
                model.set_policy({key: moved})
                costs.append(float(model.expected_cost(model.probabilities()).detach()))
            assert (costs[0] - costs[1]) / 2e-5 == pytest.approx(float(gradient[place]), abs=1e-8)
        model.set_policy({key: content})


@pytest.mark.parametrize("name", SEARCHED)
def test_whoever_moves_the_policy_pays(name: str, tmp_path: Path) -> None:
    """With a weight, every turn that moves the policy, and no other one; without, none."""
    for weight in (0.0, 0.3):
        phases = method_with(name, tmp_path, cost_weight=weight).phases()
        paid = 0
        for turn in (turn for phase in phases for turn in phase.turns):
            moves_policy = any(move.group == "policy" for move in turn.moves)
            assert turn.terms.get("cost", 0.0) == (weight if moves_policy else 0.0)
            paid += moves_policy
        assert paid


@pytest.mark.parametrize("name", (*SEARCHED, "mtl-nas"))
def test_nothing_else_may_be_counted(name: str) -> None:
    """All of them have these options, with the same words and limits."""
    fields = methods()[name].Options.model_fields
    assert {"cost", "cost_weight", "cost_table"} <= fields.keys()
    assert fields["cost"].default == "macs" and fields["cost_table"].default is None
    with pytest.raises(ValueError, match="cost_weight"):
        methods()[name].Options.model_validate({"cost_weight": -0.1})
    with pytest.raises(ValueError, match="cost_table"):
        methods()[name].Options.model_validate({"cost": "milliseconds"})
