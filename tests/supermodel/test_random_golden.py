"""Random plans: what they are drawn of, and that one of a given cost has it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from method_work import TASKS, method_for, setup_for
from pydantic import ValidationError

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods import random_plan
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.random_plan import Random, RandomOptions

pytestmark = pytest.mark.golden

SPACES: tuple[dict[str, Any], ...] = (
    {"space": "copies"},
    {"space": "copies", "units": "block"},
    {"space": "copies", "skip": False},
    {"space": "tree", "units": "block"},
)


def drawn(setup: Setup, **options: Any) -> SharingPlan:
    return Random(setup, RandomOptions(**options)).plan()


def share(plan: SharingPlan, setup: Setup) -> float:
    return executed_cost(plan, setup.backbone, setup.heads).relative[0]


@pytest.mark.parametrize("macs", [0.45, 0.6, 0.8])
@pytest.mark.parametrize("space", SPACES, ids=repr)
@pytest.mark.parametrize("backbone", ["residual", "mobile"])
def test_a_plan_has_the_cost_asked_for(backbone: str, space: dict[str, Any], macs: float) -> None:
    """As the lowered model counts it, for every draw; plans differ from draw to draw, and one draw is one plan."""
    setup = setup_for(backbone)
    plans = [drawn(setup, draw=draw, macs=macs, tolerance=0.07, **space) for draw in range(4)]
    for plan in plans:
        assert share(plan, setup) == pytest.approx(macs, abs=0.07)
    assert len({repr(plan.units) for plan in plans}) > 1
    assert plans[1] == drawn(setup, draw=1, macs=macs, tolerance=0.07, **space)


@pytest.mark.parametrize("units", ["operator", "block"])
def test_runs_and_skips_have_a_cost_too(units: str) -> None:
    """Of one set of weights that each task runs in part."""
    setup = setup_for("residual")
    whole = share(all_shared(setup.backbone, TASKS), setup)
    plan = drawn(setup, space="runs", units=units, macs=whole, tolerance=0.01)
    assert plan.tie and share(plan, setup) == pytest.approx(whole, abs=0.01)
    assert {choice for row in drawn(setup, space="runs", units=units).units.values() for choice in row.values()} == {
        0,
        "skip",
    }


def test_without_a_cost_nothing_is_moved() -> None:
    """All options are equally likely, unit by unit and task by task, by run's seed and number of the draw."""
    setup = setup_for("residual")
    plain, rng = drawn(setup, draw=3), random.Random(f"{setup.seed}/3")
    table = setup.backbone.table("operator")
    for unit, skip in zip(table.names, table.skips, strict=True):
        for number, task in enumerate(TASKS):
            options = [0, number + 1, *(["skip"] if skip is not None else [])]
            assert plain.units[unit][task] == options[rng.randrange(len(options))]
    assert plain.provenance == {"draw": 3}


def test_a_plan_file_gives_the_cost(tmp_path: Path) -> None:
    """Equal MACs, other choices."""
    setup = setup_for("residual")
    until = share_until(setup.backbone, TASKS, "0")
    until.save(tmp_path / "plan.json")
    plan = drawn(setup, space="tree", units="block", like=tmp_path / "plan.json", tolerance=0.001)
    assert share(plan, setup) == pytest.approx(share(until, setup), abs=0.001)
    assert not plan.tie and plan.granularity == "block"
    other = setup_for("residual", TASKS[::-1])
    with pytest.raises(InvalidConfig, match="the plan is for depth, normals, seg"):
        drawn(other, like=tmp_path / "plan.json")


def test_trees_have_one_instance_a_task() -> None:
    """Any of them for any task, so that pairs of tasks may share apart from the others; nothing is skipped."""
    setup = setup_for("residual")
    rows = [row for draw in range(20) for row in drawn(setup, draw=draw, space="tree").units.values()]
    assert {choice for row in rows for choice in row.values()} == {0, 1, 2}
    assert any(row["depth"] == row["seg"] == 2 for row in rows)
    assert not any(drawn(setup, draw=draw, skip=False).units["stem"]["depth"] == 2 for draw in range(20))


def test_a_cost_out_of_reach_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without skips no plan runs less than one backbone."""
    monkeypatch.setattr(random_plan, "TRIES", 300)
    with pytest.raises(InvalidConfig, match=r"runs 0\.200 of the MACs; the nearest runs 0\.[3-9]") as caught:
        drawn(setup_for("chain"), macs=0.2, skip=False)
    assert caught.value.problems[0].place == "search.macs"
    alone = setup_for("chain", TASKS[:1])
    with pytest.raises(InvalidConfig, match=r"nearest runs 1\.000"):
        drawn(alone, space="tree", macs=0.5)
    assert drawn(alone, space="tree", macs=1.0) == drawn(alone, space="tree")


def test_no_task_skips_everything_on_the_way() -> None:
    """However cheap a plan is asked for, every task runs something: all skips together would cost 0.07."""
    setup = setup_for("chain")
    for draw in range(6):
        plan = drawn(setup, draw=draw, macs=0.1, tolerance=0.04)
        for task in TASKS:
            assert any(row[task] != "skip" for row in plan.units.values())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"macs": 0.5, "like": "plan.json"}, "leave one out"),
        ({"space": "runs", "skip": False}, "nothing to draw"),
        ({"macs": 0.0}, "macs"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"space": "forest"}, "space"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        RandomOptions.model_validate(options)


def test_random_plans_of_independent_cost() -> None:
    """All MACs there are: every operator of every task runs for itself."""
    setup = setup_for("chain")
    plan = drawn(setup, macs=1.0, tolerance=0.001)
    assert share(plan, setup) == pytest.approx(share(independent(setup.backbone, TASKS), setup), abs=0.001)


def test_the_real_command_names_it(tmp_path: Path) -> None:
    """Its options are in the list of methods; what a search began with may not change."""
    method = method_for("random", setup_for("chain"), tmp_path)
    assert {"space", "macs", "like", "tolerance"} <= set(Random.decisive(method.options))
