"""Phases as data: who is on when, what is read, at which rates; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trunkline.recipe import Moment, Move, Optimiser, Part, Phase, Schedule, Turn

pytestmark = pytest.mark.properties

PARTS = {"a": Part(share=(0.0, 0.5)), "b": Part(share=(0.5, 1.0))}
TURNS = st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["a", "b"])), min_size=1, max_size=4)
SLOW = Move(optimiser=Optimiser(lr=1.0), schedule=Schedule(kind="step", size=2, gamma=0.5))


@given(TURNS, st.integers(1, 60))
def test_turns_and_positions_equal_a_walk(drawn: list[tuple[int, str]], steps: int) -> None:
    """Step by step through the cycle, counting: the closed forms say the same."""
    turns = tuple(Turn(name=f"t{i}", steps=n, data=PARTS[part]) for i, (n, part) in enumerate(drawn))
    phase = Phase(steps=steps, turns=turns)
    order = [(turn, within) for turn in phase.turns for within in range(turn.steps)]
    read = dict.fromkeys(PARTS.values(), 0)
    made = {turn.name: 0 for turn in phase.turns}
    for step in range(steps):
        turn, within = order[step % len(order)]
        assert phase.turn_at(step) == turn
        assert phase.position(step) == read[turn.data]
        assert phase.turn_steps(turn.name, step) == made[turn.name]
        moment = Moment("train", "argmax", turn.name, step, steps, step // len(order), within)
        assert phase.moment(step) == moment
        assert moment.done == step / steps
        read[turn.data] += 1
        made[turn.name] += 1
    assert {name: phase.turn_steps(name) for name in made} == made


def test_an_evaluation_is_a_moment() -> None:
    """In its own mode, without a turn, after the completed steps."""
    phase = Phase(steps=12, mode="sample", turns=(Turn(name="a", steps=2), Turn(name="b", steps=3)))
    assert phase.evaluation(7) == Moment("train", "argmax", "", 7, 12, 1, 0)
    assert phase.evaluation(12).done == 1.0


def test_a_turn_may_have_its_own_mode() -> None:
    """In its steps the model is in it; in all others in that of the phase."""
    turns = (Turn(name="policy", steps=2, mode="draw"), Turn(name="weights", steps=3))
    phase = Phase(steps=20, mode="sample", turns=turns, eval_mode="argmax")
    modes = [phase.moment(step).mode for step in range(7)]
    assert modes == ["draw", "draw", "sample", "sample", "sample", "draw", "draw"]
    assert phase.evaluation(1).mode == "argmax"
    assert set(phase.modes) == {"draw", "sample", "argmax"}
    assert set(phase.model_copy(update={"eval_split": None}).modes) == {"draw", "sample"}


@pytest.mark.parity
@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Schedule(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
        (Schedule(kind="step", size=4, gamma=0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 4, 0.3)),
        (Schedule(kind="drops", gamma=0.1), lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [10, 15], 0.1)),
        (Schedule(kind="drops", at=(0.2,)), lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [4], 0.5)),
        (Schedule(kind="poly", power=0.9), lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 20, 0.9)),
        (Schedule(kind="cosine"), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20)),
    ],
)
def test_schedules_equal_torch(schedule: Schedule, make: Callable[[torch.optim.Optimizer], Any]) -> None:
    """Every kind, at every step."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = make(optimiser)
    move = Move(optimiser=Optimiser(lr=0.2), schedule=schedule)
    for step in range(20):
        assert move.lr(step, 20) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimiser.step()
        scheduler.step()


def test_rates_count_own_steps_only() -> None:
    """A schedule goes on where its turn's last visit stopped; each move has its own."""
    slow = Turn(name="slow", steps=3, moves=(SLOW, Move(group="policy", optimiser=Optimiser(lr=0.5))))
    phase = Phase(steps=10, turns=(slow, Turn(name="other", steps=2)))
    rates = [phase.rates(step) for step in (0, 1, 2, 5, 6, 7)]
    assert [rate["weights"] for rate in rates] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert {rate["policy"] for rate in rates} == {0.5}
    assert phase.rates(3) == {"weights": 1e-3}


def test_the_floor_holds_the_factor() -> None:
    """Under it no decay goes."""
    schedule = Schedule(kind="step", size=10, gamma=0.1, floor=0.1)
    assert [schedule.factor(step, 100) for step in (9, 10, 99)] == pytest.approx([1.0, 0.1, 0.1])


@pytest.mark.abuse
@pytest.mark.parametrize(
    "content",
    [
        {"steps": 0},
        {"steps": 5, "turns": []},
        {"steps": 5, "stepz": 5},
        {"steps": 5, "name": "../up"},
        {"steps": 5, "mode": "../up"},
        {"steps": 5, "turns": [{"name": "a"}, {"name": "a"}]},
        {"steps": 5, "turns": [{"moves": []}]},
        {"steps": 5, "turns": [{"moves": [{"schedule": {"kind": "step"}}]}]},
        {"steps": 5, "turns": [{"moves": [{"optimiser": {"lr": float("nan")}}]}]},
        {"steps": 5, "turns": [{"moves": [{"group": "weights"}, {"group": "weights.heads"}]}]},
        {"steps": 5, "turns": [{"data": {"share": [0.5, 0.5]}}]},
        {"steps": 5, "turns": [{"data": {"share": [0.5, 1.5]}}]},
        {"steps": 5, "turns": [{"statistics": "freeze"}]},
        {"steps": 5, "turns": [{"terms": {"cost": -1.0}}]},
        {"steps": 5, "loss_weights": {"depth": float("inf")}},
        {"steps": 5, "clip_norm": 0},
    ],
)
def test_bad_phases_are_refused(content: dict[str, Any]) -> None:
    """Before anything is made of them."""
    with pytest.raises(ValidationError):
        Phase.model_validate(content)


def test_phases_round_trip_as_json() -> None:
    """Checkpoints and run folders hold them so."""
    turn = Turn(data=Part(share=(0.0, 0.5), remix=True), moves=(SLOW,), terms={"cost": 0.5}, fresh=True)
    phase = Phase(steps=5, turns=(turn,), loss_weights={"depth": 2.0}, reset_statistics=True)
    assert Phase.model_validate_json(phase.model_dump_json()) == phase
