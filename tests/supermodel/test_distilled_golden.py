"""Distilled: its cut by brute force, what its losses weigh, and a real run with teachers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import onnx
import pytest
from method_work import NETWORKS, TASKS, ShakenWork, method_for, setup_for
from pydantic import ValidationError
from three_tasks import THREE_TASKS, run_three

from trunkline.errors import InvalidConfig
from trunkline.recipe import Move, Optimiser, Part, Phase, Turn
from trunkline.sharing.layouts.plans import all_shared, independent, share_until
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.plan import SharingPlan
from trunkline.supermodel.methods.base import Setup
from trunkline.supermodel.methods.distilled import DistilledOptions, balanced_phase, taught_phase
from trunkline.supermodel.work import Found

pytestmark = pytest.mark.golden

BUDGETS = (0.34, 0.4, 0.5, 0.6, 0.7, 0.85, 0.99, 1.0, 3.0)


class Recording(ShakenWork):
    """Work that remembers what was trained."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.trained: list[tuple[str, str]] = []

    def train(self, name: str, plan: SharingPlan, **named: Any) -> Any:
        self.trained.append((name, plan.method))
        assert not named  # as the pipeline says
        return super().train(name, plan)


def found_for(setup: Setup, **options: Any) -> tuple[Found, Recording]:
    work = Recording(setup)
    return method_for("distilled", setup, None, **options).find(work), work


def macs_of_blocks(setup: Setup) -> list[int]:
    """What each block multiplies; what belongs to none, none of these networks has."""
    costs, table = setup.backbone.costs, setup.backbone.table("block")
    found = [0] * len(table.units)
    for name, cost in costs.items():
        if cost.macs:
            found[table.of_node[name]] += cost.macs
    return found


@pytest.mark.parametrize("backbone", NETWORKS)
@pytest.mark.parametrize("budget", BUDGETS)
def test_the_cut_is_the_brute_force_one(backbone: str, budget: float) -> None:
    """Of all trunks, none and all included, the shortest one that executes no more; counted block by block."""
    setup = setup_for(backbone)
    macs, names = macs_of_blocks(setup), setup.backbone.table("block").names
    inside = []
    for shared in range(len(macs) + 1):
        executed = sum(macs[:shared]) + len(TASKS) * sum(macs[shared:])
        if executed / (len(TASKS) * sum(macs)) <= budget:
            inside.append(shared)
    shared = min(inside)
    plan = method_for("distilled", setup, None, max_macs=budget).plan()
    expected = share_until(setup.backbone, TASKS, names[shared - 1]) if shared else independent(setup.backbone, TASKS)
    assert plan == expected.model_copy(update={"method": "distilled"})


@pytest.mark.parametrize("backbone", NETWORKS)
def test_budgets_cut_at_several_places(backbone: str) -> None:
    """A control: the budgets above differ in what they find."""
    setup = setup_for(backbone)
    plans = [method_for("distilled", setup, None, max_macs=budget).plan() for budget in BUDGETS]
    assert len({str(plan.units) for plan in plans}) >= 2
    shares = [executed_cost(plan, setup.backbone, setup.heads).relative[0] for plan in plans]
    assert shares == sorted(shares) and all(share <= most for share, most in zip(shares, BUDGETS, strict=True))
    assert shares[-1] == shares[-2] == 1.0


@pytest.mark.parametrize("backbone", NETWORKS)
def test_too_small_a_budget_is_refused(backbone: str) -> None:
    """With what is enough: one trunk for all is 1/T of the MACs, which no three digits are."""
    setup = setup_for(backbone)
    with pytest.raises(InvalidConfig) as caught:
        found_for(setup, max_macs=0.333)
    (problem,) = caught.value.problems
    assert problem.place == "search.max_macs"
    assert problem.message == "0.333 of the MACs is less than one trunk for all runs"
    assert problem.advice == "give 0.334 or more"
    found, _ = found_for(setup, max_macs=0.334)
    assert found.plan.units == all_shared(setup.backbone, TASKS).units


def test_nothing_is_trained_for_a_wrong_budget() -> None:
    setup = setup_for("chain")
    work = Recording(setup)
    with pytest.raises(InvalidConfig):
        method_for("distilled", setup, None, max_macs=0.1).find(work)
    assert work.trained == []


def test_one_task_has_nobody_to_share_with() -> None:
    """So a budget says nothing, and its loss weighs what it did; it may have a teacher all the same."""
    setup = setup_for("residual", TASKS[:1])
    found, work = found_for(setup, max_macs=0.1)
    assert found.plan.units == independent(setup.backbone, TASKS[:1]).units
    assert work.trained == [("single", "single-task")] and found.teacher is not None
    assert found.phases[0].loss_weights == {TASKS[0]: pytest.approx(1.0)}


def test_a_block_or_a_file_decides_instead(tmp_path: Path) -> None:
    """Whatever the budget is."""
    setup = setup_for("residual")
    names = setup.backbone.table("block").names
    for block in (names[1], "1"):
        plan = method_for("distilled", setup, None, block=block, max_macs=0.01).plan()
        assert plan.units == share_until(setup.backbone, TASKS, names[1]).units and plan.method == "distilled"
    units = {name: dict.fromkeys(TASKS, 0) for name in names}
    units[names[-1]] = {"depth": 0, "normals": 1, "seg": 0}
    mine = all_shared(setup.backbone, TASKS).model_copy(update={"units": units, "method": "mine"})
    mine.save(tmp_path / "plan.json")
    plan = method_for("distilled", setup, None, file=tmp_path / "plan.json", max_macs=0.01).plan()
    assert plan == mine.model_copy(update={"method": "distilled"})


def test_a_file_is_asked_for_by_content(tmp_path: Path) -> None:
    """It lies beside the pipeline file, and another content is another search."""
    setup = setup_for("chain")
    kind = type(method_for("distilled", setup, None))
    options = DistilledOptions(file=Path("plan.json")).anchored(tmp_path)
    assert options.file == tmp_path / "plan.json"
    found = []
    for plan in (all_shared(setup.backbone, TASKS), independent(setup.backbone, TASKS)):
        plan.save(options.file)
        found.append(kind.decisive(options)["file"])
    assert found[0] != found[1] and None not in found


@pytest.mark.abuse
def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    """Both at once, a block that is not there, a plan of other tasks, a file that is not there."""
    with pytest.raises(ValidationError, match="give `block` or `file`, not both"):
        DistilledOptions(block="1", file=tmp_path / "plan.json")
    setup = setup_for("chain")
    with pytest.raises(InvalidConfig, match="block"):
        found_for(setup, block="conv99")
    all_shared(setup.backbone, TASKS[::-1]).save(tmp_path / "plan.json")
    with pytest.raises(InvalidConfig, match="name the same tasks in the same order") as caught:
        found_for(setup, file=tmp_path / "plan.json")
    assert caught.value.problems[0].place == str(tmp_path / "plan.json")
    with pytest.raises(InvalidConfig, match=r"nothing\.json"):
        found_for(setup, file=tmp_path / "nothing.json")


@pytest.mark.abuse
@pytest.mark.parametrize("wrong", [{"max_macs": 0.0}, {"max_macs": -1}, {"weight": -0.1}, {"weight": math.inf}])
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DistilledOptions.model_validate(wrong)


@pytest.mark.parametrize(
    ("options", "trained", "teacher", "balanced"),
    [
        ({}, 1, True, True),
        ({"balance": False}, 1, True, False),
        ({"weight": 0.0}, 1, False, True),
        ({"weight": 0.0, "balance": False}, 0, False, False),
    ],
)
def test_what_is_left_out(options: dict[str, Any], trained: int, teacher: bool, balanced: bool) -> None:
    """Without weight no model has a teacher; with neither it is the cut alone, trained as the pipeline says."""
    setup = setup_for("residual")
    found, work = found_for(setup, **options)
    assert len(work.trained) == trained
    assert (found.teacher is not None) == teacher
    phases = found.phases or (setup.phase,)
    assert [bool(phase.loss_weights) for phase in phases] == [balanced]
    assert [dict(turn.terms) for turn in phases[0].turns] == [{"teacher": 1.0} if teacher else {}]
    assert (found.phases is None) == (not teacher and not balanced)
    assert found.start is None and not found.goes_on and found.steps == 0


def with_phase(setup: Setup, phase: Phase, **weights: float) -> Setup:
    return Setup(setup.backbone, setup.heads, setup.tasks, setup.kinds, setup.seed, phase, 4, loss_weights=weights)


@pytest.mark.parametrize("weights", [{}, {"depth": 2.0, "normals": 0.5, "seg": 3.0}, {"seg": 0.0, "depth": 0.1}])
def test_balance_is_the_formula(weights: dict[str, float]) -> None:
    """λ_t / L_t times Σ λ / Σ (λ / L): equal parts of what remains weigh alike, by λ; the sum is what it was."""
    setup = with_phase(setup_for("chain"), Phase(steps=4), **weights)
    found, _ = found_for(setup)
    left = {task: float(len(task)) for task in TASKS}  # what ShakenWork says that single-task models end with
    given = {task: weights.get(task, 1.0) for task in TASKS}
    scale = sum(given.values()) / sum(given[task] / left[task] for task in TASKS)
    expected = {task: scale * given[task] / left[task] for task in TASKS}
    assert found.phases[0].loss_weights == pytest.approx(expected)
    own = found.phases[0].loss_weights
    assert sum(own.values()) == pytest.approx(sum(given.values()))
    parts = {own[task] * left[task] / given[task] for task in TASKS if given[task]}
    assert max(parts) == pytest.approx(min(parts))


def test_equal_losses_change_nothing() -> None:
    """Nor does a run in which no loss weighs anything."""
    phase = Phase(steps=1)
    weights = {"a": 2.0, "b": 0.5}
    assert balanced_phase(phase, {"a": 0.3, "b": 0.3}, weights).loss_weights == pytest.approx(weights)
    assert balanced_phase(phase, {"a": 0.3, "b": 0.4}, {"a": 0.0, "b": 0.0}) == phase


@pytest.mark.abuse
@pytest.mark.parametrize("losses", [{"a": 0.0}, {}, {"a": -0.5}, {"a": math.nan}])
def test_what_cannot_be_balanced_is_refused(losses: dict[str, float]) -> None:
    """A loss that ends at nothing, that no step has, or that is no number; with place and advice."""
    phase = Phase(steps=1)
    with pytest.raises(InvalidConfig) as caught:
        balanced_phase(phase, {**losses, "b": 0.5}, {"a": 1.0, "b": 1.0})
    (problem,) = caught.value.problems
    assert (problem.place, problem.advice) == ("search.balance", "write `balance = false`")
    assert problem.message.startswith("the loss of a ends at 0, or no step has one")
    # A task that does not count need not be divided by.
    assert balanced_phase(phase, {**losses, "b": 0.5}, {"a": 0.0, "b": 2.0}).loss_weights == {"a": 0.0, "b": 2.0}


def test_all_else_of_a_phase_stays() -> None:
    """Turns, steps task by task, terms, rates, what is kept: only λ and the term are added, to every turn."""
    moves = (Move(optimiser=Optimiser(kind="sgd", lr=0.3), per_user=True),)
    turns = (
        Turn(name="one", moves=moves, joint=False, terms={"decay": 0.25}, steps=3),
        Turn(name="two", moves=moves, data=Part(share=(0.0, 0.5)), statistics="hold"),
    )
    phase = Phase(name="post", steps=9, turns=turns, clip_norm=2.0, best_by="relative", eval_every=3, keep=5)
    setup = with_phase(setup_for("chain"), phase)
    found, _ = found_for(setup, weight=0.125)
    (own,) = found.phases
    assert [turn.terms for turn in own.turns] == [{"decay": 0.25, "teacher": 0.125}, {"teacher": 0.125}]
    without = [turn.model_copy(update={"terms": old.terms}) for turn, old in zip(own.turns, turns, strict=True)]
    assert own.model_copy(update={"turns": tuple(without), "loss_weights": {}}) == phase
    assert phase.turns == turns and taught_phase(phase, 0.125).loss_weights == {}
    assert Phase.model_validate(own.model_dump()) == own


def test_a_pipeline_of_three_tasks(tmp_path: Path) -> None:
    """The real command: a teacher of as many steps, which is not in the file, and a Δ that is marked for it."""
    result, plan = run_three(tmp_path, 'method = "distilled"\nmax_macs = 0.6')
    assert plan["method"] == "distilled"
    assert result["search"]["backbone_macs_share"] <= 0.6
    trained = result["train"]
    assert trained["alike"] is False
    assert trained["steps"] == {"search": 0, "teacher": 2, "train": 2}
    assert set(trained["loss_weights"]) == set(THREE_TASKS)
    assert sum(trained["loss_weights"].values()) == pytest.approx(3)
    report = (tmp_path / "run/report.md").read_text()
    assert (
        "**model was not trained alike**: beside its labels it learned from models that had been trained for 2 steps."
        in report
    )
    stored = [value.name for value in onnx.load(tmp_path / "run/model.onnx").graph.initializer]
    assert stored and not any("teacher" in name for name in stored)
    records = [json.loads(line) for line in (tmp_path / "run/train/metrics.jsonl").read_text().splitlines()]
    terms = [record["terms"] for record in records if record["kind"] == "step"]
    assert [set(each) for each in terms] == [{"teacher"}] and 0 < terms[0]["teacher"] < 12
    assert (tmp_path / "run/search-single/metrics.jsonl").is_file()


def test_losses_that_a_method_weighs_are_told(tmp_path: Path) -> None:
    """Without a teacher the losses still weigh what single-task models end with, which no baseline's do."""
    result, _ = run_three(tmp_path, 'method = "distilled"\nblock = "1"\nweight = 0.0')
    trained = result["train"]
    assert trained["steps"] == {"search": 0, "teacher": 0, "train": 2} and trained["alike"] is False
    weights = trained["loss_weights"]
    records = [json.loads(line) for line in (tmp_path / "run/search-single/metrics.jsonl").read_text().splitlines()]
    (last,) = [record["losses"] for record in records if record["kind"] == "step"]
    assert max(weights[task] * last[task] for task in weights) == pytest.approx(
        min(weights[task] * last[task] for task in weights)
    )
    said = ", ".join(f"{task} {weight:.3g}" for task, weight in weights.items())
    report = (tmp_path / "run/report.md").read_text()
    assert f"**model was not trained alike**: its method weighs the losses ({said})" in report
