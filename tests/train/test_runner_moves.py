"""What a turn may say beside its optimiser: several moves, rates by users, held statistics, forgotten state."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from runner_fakes import (
    FOR_POLICY,
    FOR_WEIGHTS,
    TASKS,
    Numbered,
    Stop,
    Tiny,
    data,
    digests,
    run,
    search_phase,
    train_phase,
)
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.recipe import Moment, Move, Optimiser, Phase, Schedule, Turn
from trunkline.train.loop.device import Compute
from trunkline.train.loop.interrupt import Interrupted
from trunkline.train.loop.optimisers import NamedOptimiser, TurnOptimiser
from trunkline.train.loop.step import Stepper, StepValues
from trunkline.train.loop.trainable import parameter_group
from trunkline.train.run_folder.checkpoint_file import read_checkpoint

pytestmark = pytest.mark.properties

SGD = Optimiser(kind="sgd", lr=0.1, momentum=0.0, weight_decay=0.0)
ADAM = Optimiser(lr=0.05, weight_decay=1e-3)
HALVED = Schedule(kind="step", size=2, gamma=0.5)


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """Threads may sum in another order from one run to the next."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stepped(model: Tiny, turn: Turn, rates: dict[str, float] | None = None, **settings: object) -> StepValues:
    """One step from no optimiser state."""
    model.at(Moment("train", "sample"))
    optimiser = TurnOptimiser(turn, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in optimiser.parameters)
    torch.manual_seed(0)
    stepper = Stepper(model, TASKS, Compute(), **settings)
    rates = rates or {move.group: move.optimiser.lr for move in turn.moves}
    return stepper.step(turn, Numbered(0).batch(0), optimiser, rates=rates, place="here")


def changes(turn: Turn, **settings: object) -> dict[str, Tensor]:
    """By parameter, how far one step moves it."""
    model = Tiny()
    before = copy.deepcopy(dict(model.named_parameters()))
    stepped(model, turn, **settings)
    return {name: (parameter - before[name]).detach() for name, parameter in model.named_parameters()}


def test_each_move_has_its_rate() -> None:
    """With plain gradients, a group at three times the rate moves three times as far; others stay."""
    alike = changes(Turn(moves=(Move(optimiser=SGD),)))
    faster = SGD.model_copy(update={"lr": 0.3})
    both = changes(Turn(moves=(Move(group="weights.backbone", optimiser=SGD), Move(group="policy", optimiser=faster))))
    policy = changes(Turn(moves=(Move(group="policy", optimiser=SGD),)))
    groups = Tiny().groups()
    for name in groups["weights.backbone"]:
        assert torch.equal(both[name], alike[name]), name
    for name in groups["policy"]:
        assert policy[name].abs().sum() > 0
        torch.testing.assert_close(both[name], 3 * policy[name], rtol=1e-4, atol=1e-7)
    for name in groups["weights.heads"]:
        assert not both[name].any(), name


def test_each_move_has_its_optimiser() -> None:
    """Adam's first step is its rate, whatever the gradient; plain descent beside it is not bent by that."""
    turn = Turn(
        moves=(
            Move(group="weights.heads", optimiser=Optimiser(lr=0.05)),
            Move(group="weights.backbone", optimiser=SGD),
        )
    )
    both, alone = changes(turn), changes(Turn(moves=(Move(optimiser=SGD),)))
    groups = Tiny().groups()
    for name in groups["weights.heads"]:
        torch.testing.assert_close(both[name].abs(), torch.full_like(both[name], 0.05), rtol=1e-3, atol=0)
    for name in groups["weights.backbone"]:
        assert torch.equal(both[name], alone[name])


def test_rates_are_logged_by_group(tmp_path: Path) -> None:
    """Each move follows its own schedule, over the steps of its turn."""
    moves = (Move(group="weights", optimiser=SGD, schedule=HALVED), Move(group="policy", optimiser=ADAM))
    turns = (Turn(name="both", steps=2, moves=moves), Turn(name="heads", moves=(Move(group="weights.heads"),)))
    run(tmp_path, train_phase(7, turns=turns, mode="sample"))
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    rates = [record["lr"] for record in records if record["kind"] == "step"]
    assert rates[0] == rates[1] == {"weights": 0.1, "policy": 0.05}
    assert rates[2] == rates[5] == {"weights.heads": 1e-3}
    assert rates[3] == rates[4] == {"weights": 0.05, "policy": 0.05}
    assert rates[6] == {"weights": 0.025, "policy": 0.05}


@pytest.mark.parametrize("nesterov", [False, True])
def test_nesterov_looks_ahead(nesterov: bool) -> None:
    """v ← 0.9·v + g; then p falls by the rate times v, or times g + 0.9·v."""
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    settings = Optimiser(kind="sgd", lr=0.1, momentum=0.9, nesterov=nesterov)
    optimiser = NamedOptimiser(settings, {"p": parameter})
    p, v = 1.0, 0.0
    for _ in range(4):
        optimiser.zero_grad()
        parameter.square().sum().backward()
        optimiser.step(0.1)
        v = 0.9 * v + 2 * p
        p -= 0.1 * (2 * p + 0.9 * v if nesterov else v)
        assert float(parameter.detach()) == pytest.approx(p, rel=1e-5)


@pytest.mark.abuse
def test_nesterov_needs_a_momentum() -> None:
    with pytest.raises(ValidationError, match="`nesterov` looks ahead by the momentum, which is 0"):
        Optimiser(kind="sgd", momentum=0.0, nesterov=True)


@pytest.mark.abuse
def test_a_late_modes_typo_is_found_first(tmp_path: Path) -> None:
    """Before any step, whichever turn has it; and a term is tried in the mode of its own turn."""
    turns = (Turn(name="weights", steps=50), Turn(name="policy", mode="smaple"))
    with pytest.raises(InvalidConfig, match=r"no mode smaple"):
        run(tmp_path, train_phase(60, turns=turns))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_each_turn_runs_in_its_mode(tmp_path: Path) -> None:
    """A policy has a gradient in turns that sample only."""
    policy = Turn(name="policy", mode="sample", moves=(Move(group="policy", optimiser=ADAM),))
    model = Tiny()
    run(tmp_path, train_phase(2, turns=(Turn(name="weights"), policy), mode="argmax"), model=model)
    assert all(float(p.detach().abs().sum()) > 0 for p in model.policy.values())


@pytest.mark.parametrize("groups", [("weights", "weights"), ("weights", "weights.heads"), ("policy.a.b", "policy.a")])
@pytest.mark.abuse
def test_overlapping_moves_are_refused(groups: Sequence[str]) -> None:
    """Two optimisers of one parameter would each undo what the other remembers."""
    for order in (groups, groups[::-1]):
        with pytest.raises(ValidationError, match="two moves of one turn move the same parameters"):
            Turn(moves=tuple(Move(group=group) for group in order))
    assert Turn(moves=(Move(group="weights.heads"), Move(group="weights.headsets"))).moves


def test_a_group_holds_its_inner_groups() -> None:
    """``weights`` is ``weights.backbone`` and ``weights.heads``, but no group that only begins alike."""
    model = Tiny()
    groups = model.groups()
    apart = {**groups, "weightsmith": {"other": torch.nn.Parameter(torch.zeros(1))}}
    model.groups = lambda: apart
    assert list(parameter_group(model, "weights")) == [*groups["weights.backbone"], *groups["weights.heads"]]
    assert parameter_group(model, "weights.heads").keys() == groups["weights.heads"].keys()


def test_shared_weights_move_by_their_users() -> None:
    """Per user, a weight of two tasks goes half as far, and a weight of one task as far as before (BMTAS, Sec. 4)."""
    plain = changes(Turn(moves=(Move(optimiser=SGD),)))
    divided = changes(Turn(moves=(Move(optimiser=SGD, per_user=True),)))
    users = Tiny().users()
    assert {len(users[name]) for name in parameter_group(Tiny(), "weights")} == {1, 2}
    for name in parameter_group(Tiny(), "weights"):
        expected = plain[name] / len(users[name])
        torch.testing.assert_close(divided[name], expected, rtol=1e-4, atol=1e-7)


def test_rates_by_users_round_trip() -> None:
    """Parameters of several rates have one state, by name, that another optimiser takes over."""
    parameters = {name: torch.nn.Parameter(torch.ones(2)) for name in "abc"}
    users = {"a": 3, "b": 1, "c": 3}
    one, other = (NamedOptimiser(ADAM, parameters, users) for _ in range(2))
    for parameter in parameters.values():
        parameter.grad = torch.full((2,), 0.5)
    one.step(0.3)
    moved = {name: 1 - parameter[0].item() for name, parameter in parameters.items()}
    assert moved == pytest.approx({"a": 0.1, "b": 0.3, "c": 0.1}, rel=1e-3)
    other.load(one.state())
    assert other.state().keys() == one.state().keys()
    assert all(torch.equal(other.state()[key], value) for key, value in one.state().items())


@pytest.mark.parametrize("joint", [True, False])
def test_held_statistics_stay_bit_equal(joint: bool) -> None:
    """While weights move by batches that are normalised by their own statistics, as in any training."""
    held, updated = (Turn(moves=(Move(optimiser=SGD),), joint=joint, statistics=s) for s in ("hold", "update"))
    one, other = Tiny(), Tiny()
    before = copy.deepcopy(one.statistics())
    assert stepped(one, held) == stepped(other, updated)
    for name, tensor in before.items():
        assert torch.equal(one.statistics()[name], tensor)
        assert not torch.equal(other.statistics()[name], tensor)
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


@pytest.mark.abuse
def test_a_failed_step_holds_statistics_too() -> None:
    """Statistics that are held are as they were, though the forward pass of the failed step changed them."""
    model, turn = Tiny(), Turn(moves=(Move(optimiser=SGD),), statistics="hold")
    model.spoil = {0: "edges"}
    before = copy.deepcopy(model.statistics())
    with pytest.raises(Exception, match="is not finite"):
        stepped(model, turn)
    assert all(torch.equal(model.statistics()[name], tensor) for name, tensor in before.items())


def fresh_phase(*, fresh: bool, steps: int = 12, **changed: object) -> Phase:
    """Three policy steps with moments that a visit forgets, then two weight steps with moments that last."""
    policy = Turn(
        name="policy",
        steps=3,
        data=FOR_POLICY,
        moves=(Move(group="policy", optimiser=ADAM),),
        terms={"regularization": 0.5, "squares": 0.1},
        statistics="hold",
        fresh=fresh,
    )
    moves = (
        Move(group="weights.backbone", optimiser=ADAM, per_user=True),
        Move(group="weights.heads", optimiser=Optimiser(kind="sgd", lr=0.05), schedule=HALVED),
    )
    weights = Turn(name="weights", steps=2, data=FOR_WEIGHTS, moves=moves, joint=False)
    settings = {
        "name": "search",
        "mode": "sample",
        "turns": (policy, weights),
        "reset_statistics": True,
        "loss_weights": {"depth": 3.0},
        "log_every": 1,
        "checkpoint_every": 4,
        "eval_every": 7,
        "clip_norm": 2.0,
    }
    return Phase.model_validate({**settings, "steps": steps, **changed})


def test_fresh_turns_forget_their_state(tmp_path: Path) -> None:
    """Adam counts a visit's own steps; a turn that is not fresh counts on from visit to visit."""
    for fresh, count in ((True, 2), (False, 8)):  # the third visit is cut short after 2 of its 3 steps
        found = read_checkpoint(run(tmp_path / str(fresh), fresh_phase(fresh=fresh)).checkpoint)
        steps = {key: value.item() for key, value in found.optimisers.items() if "/step/" in key}
        assert {value for key, value in steps.items() if key.startswith("policy/")} == {count}
        # A turn that is not fresh counts on; one step a task, so what both use has twice as many.
        assert {value for key, value in steps.items() if key.startswith("weights/")} == {4, 8}


def test_the_first_visit_is_fresh_anyway(tmp_path: Path) -> None:
    """So forgetting changes the second visit, and nothing before it."""
    runs = {fresh: run(tmp_path / f"{fresh}", fresh_phase(fresh=fresh, steps=5)) for fresh in (True, False)}
    assert digests(runs[True].checkpoint) == digests(runs[False].checkpoint)
    longer = {fresh: run(tmp_path / f"{fresh}", fresh_phase(fresh=fresh, steps=7)) for fresh in (True, False)}
    assert digests(longer[True].checkpoint) != digests(longer[False].checkpoint)


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 6, 8, 11])
def test_all_features_resume_bit_exact(tmp_path: Path, stop: int) -> None:
    """Stops inside a fresh visit (1, 2, 6, 11), at its end (3, 8), inside the other turn (4), between cycles (5)."""
    whole = run(tmp_path / "whole", fresh_phase(fresh=True))
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", fresh_phase(fresh=True), progress=Stop(stop, lambda: signal.raise_signal(2)))
    parts = run(tmp_path / "parts", fresh_phase(fresh=True), model=Tiny(seed=99))
    assert parts.resumed_from == stop
    assert digests(parts.checkpoint) == digests(whole.checkpoint)
    assert parts.metrics == whole.metrics


def test_statistics_are_reset_once(tmp_path: Path) -> None:
    """At the start of the phase; a resume must not reset them again."""
    spoiled = Tiny()
    with torch.no_grad():
        spoiled.norm.running_mean.fill_(7.0)
    phase = train_phase(6, reset_statistics=True)
    reset = run(tmp_path / "reset", phase, model=spoiled)
    clean = run(tmp_path / "clean", train_phase(6))
    assert digests(reset.checkpoint) == digests(clean.checkpoint)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", phase, progress=Stop(3, lambda: signal.raise_signal(signal.SIGINT)))
    parts = run(tmp_path / "parts", phase)
    assert parts.resumed_from == 3
    assert digests(parts.checkpoint) == digests(clean.checkpoint)
    kept = run(tmp_path / "kept", train_phase(6), model=with_mean(7.0))
    assert digests(kept.checkpoint) != digests(clean.checkpoint)


def with_mean(value: float) -> Tiny:
    model = Tiny()
    with torch.no_grad():
        model.norm.running_mean.fill_(value)
    return model


@pytest.mark.parametrize("joint", [True, False])
def test_loss_weights_of_a_phase_count(joint: bool) -> None:
    """In place of the task's own; a task that is not named keeps its own."""
    turn = Turn(moves=(Move(optimiser=SGD),), joint=joint)
    tasks = {task.name: task for task in TASKS}
    assert {name: task.weight for name, task in tasks.items()} == {"depth": 1.0, "edges": 2.0}
    plain, depth, none = (changes(turn, loss_weights=w) for w in ({}, {"depth": 4.0}, {"depth": 0.0, "edges": 0.0}))
    torch.testing.assert_close(depth["head.depth.weight"], 4 * plain["head.depth.weight"], rtol=1e-4, atol=1e-7)
    assert not any(change.any() for change in none.values())
    if joint:
        assert torch.equal(depth["head.edges.weight"], plain["head.edges.weight"])


def test_loss_weights_reach_the_run(tmp_path: Path) -> None:
    """What the phase says equals tasks that say the same."""
    phased = run(tmp_path / "phase", search_phase(loss_weights={"edges": 0.5}))
    unlike = run(tmp_path / "unlike", search_phase())
    assert digests(phased.checkpoint) != digests(unlike.checkpoint)
    same = run(tmp_path / "same", search_phase(loss_weights={"edges": 2.0}))
    assert digests(same.checkpoint) == digests(unlike.checkpoint)


def test_turns_of_one_part_share_batches(tmp_path: Path) -> None:
    """Two turns that read the same part go on where the other stopped, and none reads a batch twice."""
    source = data(weights=(weights := Numbered(1)), policy=(policy := Numbered(2)))
    turns = (
        Turn(name="a", steps=2, data=FOR_WEIGHTS, moves=(Move(optimiser=SGD),)),
        Turn(name="b", steps=1, data=FOR_POLICY, moves=(Move(optimiser=SGD),)),
        Turn(name="c", steps=1, data=FOR_WEIGHTS, moves=(Move(group="weights.heads", optimiser=SGD),)),
    )
    run(tmp_path, train_phase(8, turns=turns), data=source)
    assert (weights.asked, policy.asked) == ([0, 1, 2, 3, 4, 5], [0, 1])
