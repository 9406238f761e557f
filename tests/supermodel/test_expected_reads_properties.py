"""Properties of the expected cost of joins whose reads are open, and of spaces for which it is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones import conv
from method_work import THREE
from open_joins import model_of, space_with

from trunkline.errors import InvalidConfig
from trunkline.fragments.heads.make_head import make_head
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import shape_of
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.cost_table import CostTable, JoinTime, UnitTime
from trunkline.sharing.join import Join, Read
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.option import Option
from trunkline.sharing.plan import BackboneId
from trunkline.sharing.space import Space
from trunkline.supermodel import read_costs
from trunkline.supermodel.choice_groups import groups_of
from trunkline.supermodel.cost_term import cost_term

pytestmark = pytest.mark.properties


def certain(space: Space, seed: int) -> tuple[dict[Any, int], dict[str, torch.Tensor]]:
    """Picks that are drawn, and the policy that is sure of them."""
    generator = torch.Generator().manual_seed(seed)
    picks, policy = {}, {}
    for group in groups_of(space):
        drawn = torch.randint(0, 2, (len(group.choices),), generator=generator)
        picks.update(zip(group.choices, drawn.tolist(), strict=True))
        policy[group.name] = torch.nn.functional.one_hot(drawn, 2).double()
    return picks, policy


@pytest.mark.parametrize("count", ["macs", "parameters"])
@pytest.mark.parametrize("fragment", ["project", "mix"])
@pytest.mark.parametrize("name", THREE)
def test_decided_reads_cost_what_is_lowered(name: str, fragment: str, count: Any) -> None:
    space = space_with(name, "each", fragment=fragment)
    term = cost_term(space, {}, count)
    for seed in range(4):
        picks, policy = certain(space, seed)
        cost = executed_cost(space.plan(picks), space.backbone, {})
        assert float(term.absolute(policy)) == getattr(cost.backbone, count)
        assert float(term(policy)) == pytest.approx(
            getattr(cost.backbone, count) / getattr(cost.independent_backbone, count)
        )


def test_open_reads_cost_by_their_probability() -> None:
    """Linear in each probability: halfway between off and on is the mean of both."""
    space = space_with("chain", "each", fragment="project")
    term = cost_term(space, {}, "macs")
    shapes = {group.name: (len(group.choices), 2) for group in groups_of(space)}
    off = {name: torch.tensor([1.0, 0.0]).expand(shape) for name, shape in shapes.items()}
    on = {name: torch.tensor([0.0, 1.0]).expand(shape) for name, shape in shapes.items()}
    half = {name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    assert float(term(off)) < float(term(on))
    assert float(term(half)) == pytest.approx(0.5 * float(term(off)) + 0.5 * float(term(on)))


def timed(space: Space, folder: Path, **changes: Any) -> Path:
    """A table on which no two units or joins take equally long; ``changes`` are other entries of joins."""
    names = [unit.name for unit in space.backbone.table("operator").units]
    joins = {
        open_join.join.name: JoinTime(ms=1.0 + number, own_ms=0.25 * number, reads=len(open_join.join.reads))
        for number, open_join in enumerate(space.joins)
    }
    table = CostTable(
        backbone=BackboneId(name=space.backbone.name, fingerprint=space.backbone.fingerprint),
        input_size=shape_of(space.backbone.graph.input)[2:],
        units={name: UnitTime(ms=1 + 0.5 * number) for number, name in enumerate(names)},
        joins={**joins, **changes},
    )
    path = folder / "times.json"
    table.save(path)
    return path


@pytest.mark.parametrize("fragment", ["project", "mix"])
@pytest.mark.parametrize("name", ["chain", "residual"])
def test_milliseconds_are_those_of_the_table(name: str, fragment: str, tmp_path: Path) -> None:
    """Columns and joins of no other read; with all, what the table has; between them, reads of one size are equal."""
    space = space_with(name, "each", fragment=fragment)
    table = CostTable.load(timed(space, tmp_path), space.backbone, space.joins)
    term = cost_term(space, {}, "milliseconds", tmp_path / "times.json")
    columns = len(space.tasks) * sum(table.node_ms.values())
    for seed in range(4):
        picks, policy = certain(space, seed)
        expected = columns
        for join in space.joins:
            time = table.joins[join.join.name]
            on = sum(picks[choice] for choice in join.choices)
            expected += time.own_ms + (time.ms - time.own_ms) * on / len(join.choices)
        assert float(term.absolute(policy)) == pytest.approx(expected)
        assert float(term(policy)) == pytest.approx(expected / columns)


def test_what_no_head_reads_takes_no_time(tmp_path: Path) -> None:
    """As in every other count: a lateral map is only there for heads of several maps."""
    b = GraphBuilder("lateral")
    trunk = conv(b, b.image("image", (3, 8, 8)), "stem", 4)
    lateral = conv(b, trunk, "lateral", 4)
    trunk = b.node("Relu", [conv(b, trunk, "deep", 4, stride=2)], name="deep_relu")
    backbone = Backbone(b.finish([lateral, trunk]))
    reads = (Read.column("deep_relu", "a"), Read.column("deep_relu", "b"))
    settings = {"starts": [1.0, 0.0]}
    join = Join(name="meet", kind="project", settings=settings, site="deep_relu", task="a", reads=reads)
    joins = (OpenJoin(join, "each"),)
    space = Space.over(backbone, ("a", "b"), "block", lambda unit, task: [Option(task)], joins=joins)
    path = timed(space, tmp_path)
    _, policy = certain(space, 0)
    of_one_map, of_both = ({task: make_head(kind, backbone.graph, 2) for task in "ab"} for kind in ("light", "fpn"))
    times = CostTable.load(path, backbone, joins).node_ms
    for heads in ({}, of_one_map):
        more = cost_term(space, of_both, "milliseconds", path).absolute(policy)
        less = cost_term(space, heads, "milliseconds", path).absolute(policy)
        assert float(more - less) == pytest.approx(2 * times["lateral"])


def test_reads_share_what_they_add_by_their_channels(tmp_path: Path) -> None:
    """Between what is measured, a read of twice as many channels takes twice as long."""
    b = GraphBuilder("widths")
    x = conv(b, b.image("image", (3, 8, 8)), "narrow", 4)
    backbone = Backbone(b.finish([b.node("Relu", [conv(b, x, "wide", 8)], name="relu")]))
    reads = (Read.column("relu", "a"), Read.column("relu", "b"), Read.column("narrow", "b"))
    settings = {"starts": [1.0, 0.0, 0.0]}
    join = Join(name="meet", kind="project", settings=settings, site="relu", task="a", reads=reads)
    space = Space.over(
        backbone, ("a", "b"), "block", lambda unit, task: [Option(task)], joins=(OpenJoin(join, "each"),)
    )
    term = cost_term(space, {}, "milliseconds", timed(space, tmp_path, meet=JoinTime(ms=4, own_ms=1, reads=3)))
    (group,) = groups_of(space)
    costs = []
    for on in ([0, 0], [1, 0], [0, 1], [1, 1]):
        policy = {group.name: torch.nn.functional.one_hot(torch.tensor(on), 2).double()}
        costs.append(float(term.absolute(policy)))
    assert [cost - costs[0] for cost in costs] == pytest.approx([0, 2, 1, 3])


def test_a_join_that_noise_made_cheaper_costs_nothing_more(tmp_path: Path) -> None:
    """A negative cost would pay the search for every edge that it keeps."""
    space = space_with("chain", "each", fragment="project")
    name = space.joins[0].join.name
    path = timed(space, tmp_path, **{name: JoinTime(ms=0.5, own_ms=0.75, reads=3)})
    term = cost_term(space, {}, "milliseconds", path)
    shapes = {group.name: (len(group.choices), 2) for group in groups_of(space)}
    policy = {name: torch.full(shape, 0.5, requires_grad=True) for name, shape in shapes.items()}
    gradients = torch.autograd.grad(term(policy), list(policy.values()))
    assert all(float(gradient.min()) >= 0 for gradient in gradients)


def test_tables_without_these_joins_are_refused(tmp_path: Path) -> None:
    space = space_with("chain", "each", fragment="project")
    first, second, *_ = (join.join.name for join in space.joins)
    timed(space, tmp_path, **{first: JoinTime(ms=1, own_ms=1, reads=2)})
    content = json.loads((tmp_path / "times.json").read_text())
    del content["joins"][second]
    (tmp_path / "times.json").write_text(json.dumps(content))
    with pytest.raises(InvalidConfig) as error:
        cost_term(space, {}, "milliseconds", tmp_path / "times.json")
    assert f"times.json: joins.{first}.reads: was measured with 2 reads; here it may have 3" in str(error.value)
    assert f'times.json: joins: join "{second}" is missing' in str(error.value)
    with pytest.raises(InvalidConfig, match="needs `cost_table`"):
        cost_term(space, {}, "milliseconds")


def test_costs_that_are_no_sums_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_with("chain", "each")
    monkeypatch.setattr(read_costs, "_cost", lambda join, inputs, count: float(len(inputs) ** 2))
    with pytest.raises(InvalidConfig, match="no sum over what it reads") as error:
        cost_term(space, {}, "macs")
    assert error.value.problems[0].place == "joins.0"


def test_open_units_behind_joins_are_refused() -> None:
    with pytest.raises(ValueError, match="behind a join"):
        cost_term(space_with("chain", "each", options=[Option(0), Option(1)]), {}, "macs")


@pytest.mark.parametrize("change", ["other first", "shared owner", "read by others"])
def test_reads_that_decide_what_runs_are_refused(change: str) -> None:
    """Columns whose own map may be left unread, weights of several joins, and results that only joins read."""
    space = space_with("chain", "each", fragment="project")
    first, *others = space.joins
    join = first.join
    changed = {
        "other first": {"reads": tuple(reversed(join.reads))},
        "shared owner": {"owner": others[0].join.weights_of},
        "read by others": {"gives": "joins"},
    }[change]
    joins = (OpenJoin(join.model_copy(update=changed), "each"), *others)
    with pytest.raises(ValueError, match="is not known before"):
        cost_term(replace(space, joins=joins), {}, "macs")


def test_loading_is_the_inverse_of_giving() -> None:
    """What a plan's model is given and trains is taken back by the supermodel, everything else stays."""
    space = space_with("residual", "each", fragment="project")
    model = model_of(space)
    picks, _ = certain(space, 1)
    lowered = lower(space.plan(picks), space.backbone, {})
    before = {name: tensor.clone() for name, tensor in model.store.weights().items()}
    given = {name: tensor + 1 for name, tensor in model.weights(lowered).items()}
    model.load(lowered, given)
    for name, tensor in model.weights(lowered).items():
        assert torch.equal(tensor, given[name])
    moved = {name for name, tensor in model.store.weights().items() if not torch.equal(tensor, before[name])}
    left_out = {f"join.{join.name}.weight{read}" for join in space.plan(picks).joins for read in join.left_out}
    assert left_out and set(before) - moved == left_out
