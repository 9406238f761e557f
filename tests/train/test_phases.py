from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from trunkline.train.schedule.presets import PRESETS, plain_phase, preset, search_phases

from trunkline.errors import InvalidConfig
from trunkline.recipe import Optimiser, Phase, Schedule, Turn

turns = st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["a", "b"])), min_size=1, max_size=4)


@given(turns, st.integers(1, 60))
def test_property_turns_and_positions_equal_a_walk(drawn, steps):
    phase = Phase(steps=steps, turns=tuple(Turn(name=f"t{i}", steps=n, split=s) for i, (n, s) in enumerate(drawn)))
    order = [turn for turn in phase.turns for _ in range(turn.steps)]
    read = {"a": 0, "b": 0}
    made = {turn.name: 0 for turn in phase.turns}
    for step in range(steps):
        turn = order[step % len(order)]
        assert phase.turn_at(step) == turn
        assert phase.position(step) == read[turn.split]
        assert phase.turn_steps(turn.name, step) == made[turn.name]
        read[turn.split] += 1
        made[turn.name] += 1
    assert {name: phase.turn_steps(name) for name in made} == made


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Schedule(), lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
        (Schedule(kind="step", size=4, gamma=0.3), lambda o: torch.optim.lr_scheduler.StepLR(o, 4, 0.3)),
        (Schedule(kind="poly", power=0.9), lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 20, 0.9)),
        (Schedule(kind="cosine"), lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20)),
    ],
)
def test_schedules_equal_torch(schedule, make):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = make(optimiser)
    turn = Turn(optimiser=Optimiser(lr=0.2), schedule=schedule)
    for step in range(20):
        assert turn.lr(step, 20) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimiser.step()
        scheduler.step()


@pytest.mark.parametrize("key", ["mode", "eval_mode"])
def test_an_unknown_mode_is_refused_with_a_guess(key):
    with pytest.raises(InvalidConfig, match=r'no mode \'smaple\'\n  did you mean "sample"'):
        Phase(steps=1, **{key: "smaple"})


def test_lr_counts_only_the_turns_own_steps():
    slow = Turn(name="slow", steps=3, optimiser=Optimiser(lr=1.0), schedule=Schedule(kind="step", size=2, gamma=0.5))
    phase = Phase(steps=10, turns=(slow, Turn(name="other", steps=2)))
    assert [phase.lr(step) for step in (0, 1, 2, 5, 6, 7)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_floor_holds_the_factor():
    schedule = Schedule(kind="step", size=10, gamma=0.1, floor=0.1)
    assert [schedule.factor(step, 100) for step in (9, 10, 99)] == pytest.approx([1.0, 0.1, 0.1])


@pytest.mark.parametrize(
    "content",
    [
        {"steps": 0},
        {"steps": 5, "turns": []},
        {"steps": 5, "stepz": 5},
        {"steps": 5, "name": "../up"},
        {"steps": 5, "turns": [{"name": "a"}, {"name": "a"}]},
        {"steps": 5, "turns": [{"schedule": {"kind": "step"}}]},
        {"steps": 5, "turns": [{"optimiser": {"lr": float("nan")}}]},
        {"steps": 5, "clip_norm": 0},
    ],
)
def test_abuse_bad_phases_are_refused(content):
    with pytest.raises(ValidationError):
        Phase.model_validate(content)


def test_phases_round_trip_as_json():
    for name in PRESETS:
        for phase in [*search_phases(preset(name)), plain_phase(preset(name), "post")]:
            assert Phase.model_validate_json(phase.model_dump_json()) == phase


def test_golden_paper_cityscapes():
    numbers = preset("paper-cityscapes")
    pre, search = search_phases(numbers)
    post = plain_phase(numbers, "post")
    assert [p.steps for p in (pre, search, post)] == [10_000, 20_000, 30_000]
    assert [p.mode for p in (pre, search, post)] == ["average", "sample", "argmax"]
    policy, weights = search.turns
    assert (policy.steps, weights.steps, policy.split, weights.split) == (100, 400, "train2", "train1")
    assert policy.optimiser.lr == 0.01
    assert policy.terms == {"regularization": 0.0005}
    assert weights.optimiser.kind == "sgd"
    assert search.joint
    assert [post.lr(step) for step in (0, 3_999, 4_000, 8_000)] == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])
    assert preset("paper-nyuv2").loss_weights == {"segmentation": 5.0, "normals": 20.0, "depth": 5.0}


def test_golden_release_differs_where_the_release_does():
    numbers = preset("release-nyuv2")
    _, search = search_phases(numbers)
    assert not search.joint
    assert numbers.search_loss_weights["segmentation"] == 3.0
    assert numbers.loss_weights["segmentation"] == 5.0
    assert {search.turn_at(step).name for step in (9_900, 10_000, 19_900)} == {"policy"}
    assert [search.lr(step) for step in (9_900, 10_000, 19_900)] == pytest.approx([1e-2, 1e-3, 1e-3])


def test_abuse_unknown_preset_is_named():
    with pytest.raises(InvalidConfig, match=r'paper-citiscapes.*\n.*did you mean "paper-cityscapes"'):
        preset("paper-citiscapes")
