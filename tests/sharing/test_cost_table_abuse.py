"""A table of milliseconds: what it makes a search pay for, and everything that can be wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from automtl_model import AutoMTL, AutoMTLOptions
from backbones import BACKBONES
from cost_backbones import attention, non_local
from plans import light_heads, option_of, random_plan
from pydantic import ValidationError

from trunkline.errors import InvalidConfig
from trunkline.graph.fingerprint import fingerprint
from trunkline.graph.graph import Graph
from trunkline.sharing.cost_table import CostTable, NodeTime, UnitTime
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.plan import BackboneId, SharingPlan
from trunkline.sharing.skip import skips_of
from trunkline.sharing.units import find_units

pytestmark = pytest.mark.abuse

TASKS = ("depth", "normals", "seg")


def table(backbone: Graph) -> dict[str, Any]:
    """A table that fits: every unit takes 2 ms, every product between units 3 ms."""
    made = CostTable(
        backbone=BackboneId(name=backbone.name, fingerprint=fingerprint(backbone)),
        input_size=backbone.input.shape[2:],
        device="a test",
        units={unit.name: UnitTime(ms=2.0) for unit in find_units(backbone)},
        nodes={name: NodeTime(ms=3.0) for name in ("scores", "mixed") if backbone.name == "attention"},
    )
    return made.model_dump(mode="json")


def refusal(path: Path, content: object, backbone: Graph) -> InvalidConfig:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InvalidConfig) as caught:
        CostTable.load(path, backbone)
    assert all(problem.place.startswith(str(path)) for problem in caught.value.problems)
    return caught.value


def sure(model: AutoMTL, plan: SharingPlan) -> None:
    """Give every choice of a plan a probability of 1."""
    logits = torch.zeros(len(model.units), len(plan.tasks), 3)
    for i, unit in enumerate(model.units):
        for t, task in enumerate(plan.tasks):
            logits[i, t, option_of(plan.choice(unit.name, task))] = 1000.0
    model.set_logits(logits)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("seed", [1, 2])
def test_cost_term_is_the_reported_share(name: str, seed: int, tmp_path: Path) -> None:
    """What ``search`` reports of a plan is what the search paid for, in each currency."""
    backbone = BACKBONES[name]()
    heads = light_heads(backbone, TASKS)
    plan = random_plan(backbone, TASKS, seed, sharing=0.8)
    macs, parameters = executed_cost(plan, backbone, heads).relative
    assert macs != pytest.approx(parameters, rel=0.01)
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(table_of_macs(backbone)))
    for options, share in (
        (AutoMTLOptions(), macs),
        (AutoMTLOptions(cost="parameters"), parameters),
        (AutoMTLOptions(cost="milliseconds", cost_table=path), macs),
    ):
        model = AutoMTL(backbone, heads, TASKS, options)
        sure(model, plan)
        term = model.term("cost").detach()
        assert term.dtype == torch.float32
        assert float(term) == pytest.approx(share)


def table_of_macs(backbone: Graph) -> dict[str, Any]:
    """A table on which a million multiply-accumulates take a millisecond."""
    content = table(backbone)
    units = find_units(backbone)
    for unit, skip in zip(units, skips_of(backbone, units), strict=True):
        content["units"][unit.name] = {"ms": unit.cost.macs / 1e6, "skip_ms": 0 if skip is None else skip.macs / 1e6}
    return content


def test_what_a_table_charges(tmp_path: Path) -> None:
    """Units by their time, products between them once for each set of equal values, skips by their own time."""
    backbone = attention()
    content = table(backbone)
    content["units"]["stem"] = {"ms": 10.0, "skip_ms": 0.5}
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(content))
    model = AutoMTL(backbone, {}, ("a", "b"), AutoMTLOptions(cost="milliseconds", cost_table=path))
    whole = 10 + 5 * 2 + 2 * 3
    logits = torch.zeros(6, 2, 3)
    logits[..., 0] = 1000
    model.set_logits(logits)
    assert float(model.expected_cost.absolute(model.probabilities()).detach()) == pytest.approx(whole)
    assert float(model.term("cost").detach()) == pytest.approx(0.5)
    logits[0, 0] = torch.tensor([0.0, 0.0, 1000.0])
    model.set_logits(logits)
    assert float(model.expected_cost.absolute(model.probabilities()).detach()) == pytest.approx(2 * whole - 10 + 0.5)
    loss = model.term("cost")
    loss.backward()
    assert all(policy.grad is not None for policy in model.policies)


def test_table_survives_its_file(tmp_path: Path) -> None:
    """Written and read again it is the same."""
    backbone = attention()
    made = CostTable.model_validate_json(json.dumps(table(backbone)))
    made.save(tmp_path / "costs.json")
    assert CostTable.load(tmp_path / "costs.json", backbone) == made
    assert made.node_ms["q"] == 2.0
    assert made.node_ms["mixed"] == 3.0


def test_another_backbone_or_size_is_refused(tmp_path: Path) -> None:
    """A time holds for one structure and one image size."""
    path, other = tmp_path / "costs.json", non_local()
    error = refusal(path, table(attention()), other)
    assert 'for another backbone: "attention" is not this "non_local"' in str(error)
    error = refusal(path, table(attention(8)), attention(16))
    assert f"{path}: input_size: measured at 8 x 8, the backbone runs at 16 x 16" in str(error)


def test_all_misfit_units_are_named(tmp_path: Path) -> None:
    """Unknown and missing units, and times of skips that do not run, in one report."""
    backbone = attention()
    content = table(backbone)
    content["units"]["mpl"] = content["units"].pop("mlp")
    content["units"]["k"]["skip_ms"] = 0.1
    content["units"]["mpl"]["skip_ms"] = 0.1
    content["units"]["v"]["skip_ms"] = 0.1
    text = str(refusal(tmp_path / "costs.json", content, backbone))
    assert 'units.mpl: the backbone has no such unit\n  did you mean "mlp"?' in text
    assert 'units: unit "mlp" is missing' in text
    assert 'units.k.skip_ms: the skip of "k" does not exist' in text
    assert 'units.v.skip_ms: the skip of "v" is the identity, which takes no time' in text


def test_all_misfit_nodes_are_named(tmp_path: Path) -> None:
    """Unknown nodes, nodes of a unit, and products without a time, in one report."""
    backbone = attention()
    content = table(backbone)
    content["nodes"] = {"softmaxx": {"ms": 1}, "stem_bn": {"ms": 1}, "mixed": {"ms": 1}, "turned": {"ms": 1}}
    text = str(refusal(tmp_path / "costs.json", content, backbone))
    assert 'nodes.softmaxx: the backbone has no such node\n  did you mean "softmax"?' in text
    assert 'nodes.stem_bn: is part of unit "stem"' in text
    assert 'nodes: MatMul "scores" is missing: it multiplies, and belongs to no unit' in text
    assert "turned" not in text.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"version": 2}, "version", "1"),
        ({"format": "trunkline-plan"}, "format", "trunkline-costs"),
        ({"unit": {}}, "unit", 'did you mean "units"?'),
        ({"units": {"q": {"ms": -1}}}, "units.q.ms", "greater than or equal to 0"),
        ({"units": {"q": {"ms": float("nan")}}}, "units.q.ms", "finite"),
        ({"units": {"q": {"ms": 1, "skip": 2}}}, "units.q.skip", 'did you mean "skip_ms"?'),
        ({"units": {"q": {}}}, "units.q.ms", "needed"),
        ({"nodes": {"q": {"mss": 1}}}, "nodes.q.mss", 'did you mean "ms"?'),
        ({"backbone": {"name": "a", "fingerprint": "b", "size": 1}}, "backbone.size", "unknown key"),
        ({"input_size": [8]}, "input_size.1", "needed"),
    ],
)
def test_each_fault_is_located(tmp_path: Path, change: dict[str, Any], place: str, message: str) -> None:
    """The message names the key and what is wrong with it."""
    text = str(refusal(tmp_path / "costs.json", {**table(attention()), **change}, attention()))
    assert f"costs.json: {place}: " in text
    assert message in text


@pytest.mark.parametrize("content", ["", "[]", "{", '"ms"'])
def test_what_is_no_table_is_refused(tmp_path: Path, content: str) -> None:
    """Text that is no JSON object, with the file's name."""
    refusal(tmp_path / "costs.json", content, attention())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot read the cost table: no such file"):
        CostTable.load(tmp_path / "none.json", attention())


def test_table_of_zeros_is_refused(tmp_path: Path) -> None:
    """The cost term is a share of the whole time, which would be 0."""
    content = table(attention())
    for entry in (*content["units"].values(), *content["nodes"].values()):
        entry["ms"] = 0
    assert "every time is 0" in str(refusal(tmp_path / "costs.json", content, attention()))


def test_table_and_currency_go_together() -> None:
    """Milliseconds need a table, and nothing else reads one."""
    with pytest.raises(ValidationError, match="needs `cost_table`"):
        AutoMTLOptions(cost="milliseconds")
    with pytest.raises(ValidationError, match="is only read with"):
        AutoMTLOptions(cost="parameters", cost_table=Path("costs.json"))
