"""Properties of relaxations: weights of options add up, follow the logits, and are exact where a choice is made."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trunkline.recipe import Moment
from trunkline.supermodel.by_turn import ByTurn
from trunkline.supermodel.choices import (
    OFF,
    ON,
    Argmax,
    Average,
    Draw,
    Gumbel,
    OneHot,
    Relaxation,
    ScoreFunction,
    Soft,
)
from trunkline.supermodel.curriculum import Curriculum
from trunkline.supermodel.random_steps import RandomSteps
from trunkline.supermodel.temperature import Decay, Linear, Polynomial

pytestmark = pytest.mark.properties

WAYS: dict[str, Relaxation] = {
    "average": Average(),
    "soft": Soft(),
    "argmax": Argmax(),
    "one-hot": OneHot({"seg": 0}),
    "gumbel": Gumbel(Linear(2.0, 0.5)),
    "straight-through": Gumbel(Decay(), straight_through=True),
    "score": ScoreFunction(),
    "exploring": ScoreFunction(explore=0.5),
    "random-steps": RandomSteps(0.5),
    "curriculum": Curriculum(Gumbel(Decay()), full=10),
    "by-turn": ByTurn({"weights": Average()}, Gumbel(Polynomial())),
}
HARD = ("argmax", "one-hot", "straight-through", "score", "exploring", "random-steps")
MANY = 4000


def draw_of(
    logits: Tensor, allowed: Tensor | None = None, *, step: int = 0, seed: int = 0, phase: str = "search"
) -> Draw:
    options = 2 if logits.shape[-1] == 1 else logits.shape[-1]
    allowed = torch.ones((len(logits), options), dtype=torch.bool) if allowed is None else allowed
    return Draw(logits, allowed, Moment(phase, "x", step=step, of=100), seed, "seg", "forward")


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), binary=st.booleans(), scale=st.sampled_from([0.0, 1.0, 50.0]))
def test_weights_of_options_add_up(way: str, seed: int, binary: bool, scale: float) -> None:
    """Each row to 1; nothing for an option that does not exist; nothing negative."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn((6, 1 if binary else 4), generator=generator, dtype=torch.float64)
    allowed = torch.ones((6, 2 if binary else 4), dtype=torch.bool)
    if not binary:
        allowed[:, 1:] = torch.rand((6, 3), generator=generator) > 0.4
    weights = WAYS[way](draw_of(logits, allowed, step=seed % 100, seed=seed))
    assert weights.shape == allowed.shape
    torch.testing.assert_close(weights.sum(-1), torch.ones(6, dtype=torch.float64))
    assert float(weights.min()) >= 0
    assert float(weights[~allowed].abs().sum()) == 0
    if way in HARD:
        assert torch.equal(weights, torch.nn.functional.one_hot(weights.argmax(-1), weights.shape[-1]).double())


@pytest.mark.parametrize("way", ["soft", "argmax", "gumbel", "straight-through", "score"])
def test_sure_logits_choose_their_option(way: str) -> None:
    """Whatever the noise, in every relaxation that reads the logits."""
    picks = torch.tensor([2, 0, 1])
    logits = 1000.0 * torch.nn.functional.one_hot(picks, 3).double()
    for step in range(20):
        weights = WAYS[way](draw_of(logits, step=step))
        torch.testing.assert_close(weights, torch.nn.functional.one_hot(picks, 3).double(), rtol=0, atol=1e-100)


@pytest.mark.parametrize("way", WAYS)
def test_draws_are_functions_of_moment_and_seed(way: str) -> None:
    """So that a resumed run repeats it; another step, seed, phase or stream draws other noise."""
    logits = torch.zeros((50, 3))
    relax = WAYS[way]
    first = relax(draw_of(logits, step=3, seed=1))
    assert torch.equal(first, relax(draw_of(logits, step=3, seed=1)))
    if way in ("gumbel", "straight-through", "score", "exploring"):
        others = [draw_of(logits, step=4, seed=1), draw_of(logits, step=3, seed=2)]
        others.append(draw_of(logits, step=3, seed=1, phase="search2"))  # whose steps begin at 0 again
        for other in others:
            assert not torch.equal(first, relax(other))


@pytest.mark.parametrize("way", WAYS)
def test_relaxations_say_what_needs_the_total(way: str) -> None:
    """Weights of one step differ with the number of steps to come where, and only where, a relaxation says so."""
    draw = draw_of(torch.arange(12.0).view(4, 3), step=30)
    longer = replace(draw, moment=replace(draw.moment, of=200))
    depends = not torch.equal(WAYS[way](draw), WAYS[way](longer))
    scalars_depend = WAYS[way].scalars(draw.moment) != WAYS[way].scalars(longer.moment)
    assert WAYS[way].needs_total is depends is scalars_depend
    assert depends is (way in ("gumbel", "by-turn"))


@settings(max_examples=50, deadline=None)
@given(choices=st.integers(1, 7), full=st.integers(0, 9), cycle=st.integers(0, 12), forced=st.integers(0, 2))
def test_a_curriculum_opens_backwards(choices: int, full: int, cycle: int, forced: int) -> None:
    """One choice at first, all at the end, never fewer than before; the others take the forced option exactly."""
    curriculum = Curriculum(Soft(), full, forced)
    draw = draw_of(torch.randn((choices, 3), dtype=torch.float64))
    draw = replace(draw, moment=replace(draw.moment, cycle=cycle))
    number = curriculum.open(choices, draw.moment)
    assert 1 <= number <= choices and number <= curriculum.open(choices, replace(draw.moment, cycle=cycle + 1))
    assert number == choices if cycle >= full else number >= 1 + (choices - 1) * cycle / full - 1
    assert cycle > 0 or full == 0 or number == 1
    weights = curriculum(draw)
    assert weights[: choices - number].argmax(-1).tolist() == [forced] * (choices - number)
    assert torch.equal(weights[: choices - number].sum(-1), weights[: choices - number].max(-1).values)
    assert torch.equal(weights[choices - number :], Soft()(draw)[choices - number :])


def test_turns_choose_in_their_own_way() -> None:
    """Each as its relaxation does; a hard one among them is refused, for it would run other cells."""
    way = ByTurn({"weights": Average()}, Soft())
    draw = draw_of(torch.randn((3, 2), dtype=torch.float64))
    for turn, inner in (("weights", Average()), ("policy", Soft()), ("", Soft())):
        now = replace(draw, moment=replace(draw.moment, turn=turn))
        assert torch.equal(way(now), inner(now))
    for turns, other in (({"weights": Argmax()}, Soft()), ({}, ScoreFunction())):
        with pytest.raises(ValueError, match="all soft"):
            ByTurn(turns, other)


def test_a_constant_temperature_needs_no_total() -> None:
    """Linear from a temperature to the same."""
    assert not Gumbel(Linear(2.0, 2.0)).needs_total


def test_a_binary_choice_is_a_sigmoid() -> None:
    """MTL-NAS: on with probability σ(logit)."""
    logits = torch.tensor([[-2.0], [0.0], [1.5]], dtype=torch.float64)
    weights = Soft()(draw_of(logits))
    torch.testing.assert_close(weights[:, ON], torch.sigmoid(logits[:, 0]))
    torch.testing.assert_close(weights[:, OFF], torch.sigmoid(-logits[:, 0]))


def test_a_binary_tie_is_off() -> None:
    """A tie of a binary choice is off."""
    assert Argmax()(draw_of(torch.zeros((1, 1)))).tolist() == [[1, 0]]


def test_binary_gumbel_is_the_relaxed_bernoulli() -> None:
    """MTL-NAS: σ((logit + L) / τ) with logistic L, whose median is σ(logit / τ)."""
    logit, tau = 0.7, 0.5
    weights = Gumbel(Linear(tau, tau))(draw_of(torch.full((MANY, 1), logit, dtype=torch.float64)))[:, ON]
    # P(weight > 1/2) = P(logit + L > 0) = σ(logit), and the quantiles follow those of the logistic distribution.
    assert float((weights > 0.5).double().mean()) == pytest.approx(_sigmoid(logit), abs=0.03)
    for q in (0.25, 0.5, 0.75):
        expected = _sigmoid((logit + math.log(q / (1 - q))) / tau)
        assert float(weights.quantile(q)) == pytest.approx(expected, abs=0.04)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("way", ["straight-through", "score"])
def test_hard_draws_follow_their_probability(way: str) -> None:
    """Gumbel-max: the largest of log π + G is option k with probability π_k."""
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    drawn = WAYS[way](draw_of(torch.log(p).expand(MANY, 3)))
    torch.testing.assert_close(drawn.mean(0), p, rtol=0, atol=0.03)


def test_exploring_draws_are_uniform_in_part() -> None:
    """Half of the draws come from π, half from the options that exist, each as likely."""
    p = torch.tensor([0.9, 0.1, 0.0], dtype=torch.float64)
    allowed = torch.tensor([[True, True, False]]).expand(MANY, 3)
    way = ScoreFunction(explore=0.5)
    wide = draw_of(torch.log(p).expand(MANY, 3), allowed)
    seeds = [replace(wide, logits=wide.logits[:1], allowed=allowed[:1], seed=seed) for seed in range(MANY)]
    drawn = torch.cat([way(draw) for draw in seeds])
    expected = torch.tensor([0.5 * 0.9 + 0.25, 0.5 * 0.1 + 0.25, 0.0], dtype=torch.float64)
    torch.testing.assert_close(drawn.mean(0), expected, rtol=0, atol=0.03)


def test_exploration_that_decays() -> None:
    way = ScoreFunction(explore=0.5, decays=True)
    moments = [Moment("search", "x", step=7 + step, of=10, within=step) for step in range(3)]
    assert [way.scalars(moment)["explore"] for moment in moments] == [1.0, 0.5, 0.25]


def test_a_draw_explores_with_all_its_choices_or_none() -> None:
    """As in DEN's release: at ε = ½ even draws of everything are as frequent as draws from π."""
    sure = torch.tensor([50.0, 0.0]).expand(30, 2)
    draw = draw_of(sure, torch.ones(30, 2, dtype=torch.bool))
    firsts = [ScoreFunction(explore=0.5)(replace(draw, seed=seed))[:, 0].mean() for seed in range(200)]
    whole = [float(first) for first in firsts if first == 1.0]
    mixed = [float(first) for first in firsts if first != 1.0]
    assert len(whole) + len(mixed) == 200 and 70 < len(mixed) < 130
    assert sum(mixed) / len(mixed) == pytest.approx(0.5, abs=0.05)


def test_random_steps_draw_everything_or_nothing() -> None:
    """In their share of the steps, the same for all groups; then every option that exists is as likely."""
    allowed = torch.tensor([[True, True, False]]).expand(40, 3)
    drawn, steps = [], 2000
    for step in range(steps):
        first = draw_of(torch.tensor([[9.0, -9.0, 0.0]]).expand(40, 3), allowed, step=step, phase="widths")
        one, other = (RandomSteps(0.25)(draw) for draw in (first, replace(first, group="depth")))
        whole = [bool((weights[:, 0] == 1).all()) for weights in (one, other)]
        assert whole[0] == whole[1]  # forty draws are never all the first option
        if not whole[0]:
            assert not torch.equal(one, other)
            drawn.append(one)
    assert len(drawn) / steps == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(torch.cat(drawn).mean(0), torch.tensor([0.5, 0.5, 0.0]), rtol=0, atol=0.02)


def test_straight_through_has_the_soft_gradient() -> None:
    """One-hot forward; backward as the soft sample of the same noise."""
    grads = []
    for straight in (False, True):
        logits = torch.tensor([[0.3, -0.2, 0.1]], dtype=torch.float64, requires_grad=True)
        weights = Gumbel(Linear(1.0, 1.0), straight_through=straight)(draw_of(logits))
        (weights * torch.tensor([1.0, 2.0, 5.0])).sum().backward()
        grads.append(logits.grad)
    torch.testing.assert_close(grads[0], grads[1])
    assert float(grads[0].abs().sum()) > 0  # type: ignore[union-attr]  # backward ran


@pytest.mark.parametrize("way", ["argmax", "one-hot", "score", "exploring", "average", "random-steps"])
def test_no_gradient_reaches_the_logits(way: str) -> None:
    logits = torch.zeros((2, 3), requires_grad=True)
    assert not WAYS[way](draw_of(logits)).requires_grad


def test_a_gumbel_sample_sharpens_with_its_temperature() -> None:
    """Hot: near equal weights; cold: near one-hot."""
    logits = torch.randn((200, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means = [float(Gumbel(Linear(tau, tau))(draw_of(logits)).max(-1).values.mean()) for tau in (100.0, 1.0, 0.01)]
    assert means[0] < 0.3 < means[1] < means[2]
    assert means[2] > 0.98


def test_temperatures_fall_as_published() -> None:
    """AutoMTL's release: 5 by 0.965 every 500 steps; BMTAS: 5.0 to 0.1, linear; MTL-NAS: (1 − s/S)²."""
    steps = [Moment("search", "x", step=step, of=1001) for step in (0, 499, 500, 1000)]
    assert [Decay().at(moment) for moment in steps] == pytest.approx([5.0, 5.0, 5 * 0.965, 5 * 0.965**2])
    assert Linear().at(steps[0]) == 5.0
    ends = [Linear().at(Moment("search", "x", step=step, of=11)) for step in (0, 5, 10)]
    assert ends == sorted(ends, reverse=True)
    assert ends[-1] < 0.6
    assert [Polynomial().at(Moment("search", "x", step=step, of=4)) for step in range(4)] == [1, 0.5625, 0.25, 0.0625]
    assert Polynomial().at(Moment("search", "x", step=4, of=4)) > 0  # the release's is 0 there


def test_a_warm_up_takes_own_options() -> None:
    """By the group's name, whatever the logits say."""
    way = OneHot({"seg": 2, "depth": 0})
    draw = draw_of(torch.tensor([[9.0, 0.0, 0.0]]))
    assert way(draw).tolist() == [[0, 0, 1]]
