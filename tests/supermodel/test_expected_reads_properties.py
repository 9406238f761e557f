"""Properties of the expected cost of joins whose reads are open, and of spaces for which it is not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from method_work import THREE
from open_joins import model_of, space_with

from trunkline.errors import InvalidConfig
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.open_join import OpenJoin
from trunkline.sharing.option import Option
from trunkline.sharing.space import Space
from trunkline.supermodel import expected_reads
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


def test_milliseconds_of_reads_are_refused() -> None:
    """A cost table has the backbone's operators; joins are in none."""
    with pytest.raises(InvalidConfig, match="nothing that joins run"):
        cost_term(space_with("chain", "each"), {}, "milliseconds", Path("times.json"))


def test_costs_that_are_no_sums_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_with("chain", "each")
    monkeypatch.setattr(expected_reads, "_cost", lambda join, inputs, count: float(len(inputs) ** 2))
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
