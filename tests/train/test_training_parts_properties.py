"""Parts of the training samples: disjoint where their stretches are, and the same in every run of a seed."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from number_samples import Numbers, numbers
from pydantic import ValidationError

from trunkline.errors import InvalidConfig
from trunkline.recipe import Part
from trunkline.train.data.base import random_generator
from trunkline.train.data.batches import Batches
from trunkline.train.data.training_parts import batches_of

pytestmark = pytest.mark.properties

LENGTHS, SEEDS, CUTS = st.integers(2, 300), st.integers(0, 99), st.floats(0.01, 0.99)


def part_of(length: int, share: tuple[float, float], seed: int, *, remix: bool = False, size: int = 1) -> Batches:
    return batches_of(Numbers(length), Part(share=share, remix=remix), batch_size=size, seed=seed)


def epoch_of(batches: Batches, epoch: int) -> list[int]:
    """All samples of one pass, of a part whose batches hold one sample each."""
    return [i for k in range(batches.per_epoch) for i in batches.indices(epoch * batches.per_epoch + k)]


@given(length=LENGTHS, seed=SEEDS, cut=CUTS)
@settings(max_examples=60, deadline=None)
def test_two_parts_divide_the_samples(length: int, seed: int, cut: float) -> None:
    """No sample is in both, and none in neither; sizes are as asked for, to one."""
    policy, weights = part_of(length, (0.0, cut), seed), part_of(length, (cut, 1.0), seed)
    first, second = set(policy.pool.tolist()), set(weights.pool.tolist())
    assert first and second and not first & second
    assert first | second == set(range(length))
    assert abs(len(first) - length * cut) <= 1
    assert sorted(epoch_of(policy, 0)) == sorted(epoch_of(policy, 3)) == sorted(first)


@given(length=st.integers(4, 300), seed=SEEDS, cuts=st.tuples(CUTS, CUTS))
@settings(max_examples=60, deadline=None)
def test_three_parts_divide_the_samples(length: int, seed: int, cuts: tuple[float, float]) -> None:
    """As a method may ask for that holds out samples of its own; an empty one is refused."""
    first, second = sorted(cuts)
    assume(first < second)
    shares = [(0.0, first), (first, second), (second, 1.0)]
    try:
        pools = [part_of(length, share, seed).pool.tolist() for share in shares]
    except InvalidConfig:
        assert round(length * second) - round(length * first) <= 1  # too near each other, or to an end
        return
    assert sorted(i for pool in pools for i in pool) == list(range(length))


@given(length=LENGTHS, seed=SEEDS, cut=CUTS)
@settings(max_examples=60, deadline=None)
def test_parts_are_those_of_earlier_runs(length: int, seed: int, cut: float) -> None:
    """``policy_fraction`` draws what it drew before parts were data, so that old numbers can be made again."""
    order = random_generator(seed, 7_001).permutation(length).tolist()
    count = min(max(1, round(length * cut)), length - 1)
    assert part_of(length, (0.0, cut), seed).pool.tolist() == sorted(order[:count])
    assert part_of(length, (cut, 1.0), seed).pool.tolist() == sorted(order[count:])


@pytest.mark.golden
def test_parts_are_known_numbers() -> None:
    """Written down once, when ``train1`` and ``train2`` were lists."""
    assert part_of(10, (0.0, 0.2), 0).pool.tolist() == [5, 9]
    assert part_of(10, (0.0, 0.5), 0).pool.tolist() == [0, 2, 3, 5, 9]
    assert part_of(7, (0.0, 0.3), 3).pool.tolist() == [1, 5]
    assert part_of(7, (0.3, 1.0), 3).pool.tolist() == [0, 2, 3, 4, 6]
    assert len(part_of(2975, (0.0, 0.2), 0).pool) == 595


@given(length=LENGTHS, seed=SEEDS, cut=CUTS)
@settings(max_examples=60, deadline=None)
def test_remixed_parts_are_disjoint(length: int, seed: int, cut: float) -> None:
    """In every pass, and together they are all; a pass is a function of seed and number."""
    one, other = (part_of(length, share, seed, remix=True) for share in ((0.0, cut), (cut, 1.0)))
    for epoch in (0, 1, 5):
        first, second = epoch_of(one, epoch), epoch_of(other, epoch)
        assert sorted(first + second) == list(range(length))
        assert epoch_of(part_of(length, (0.0, cut), seed, remix=True), epoch) == first


def test_remixed_parts_change_with_the_pass() -> None:
    """And with the seed; parts that are not remixed keep their samples."""
    mixed, still = (part_of(40, (0.0, 0.5), 3, remix=remix) for remix in (True, False))
    assert len({frozenset(epoch_of(mixed, epoch)) for epoch in range(5)}) == 5
    assert len({frozenset(epoch_of(still, epoch)) for epoch in range(5)}) == 1
    assert len({frozenset(epoch_of(part_of(40, (0.0, 0.5), seed, remix=True), 0)) for seed in range(5)}) == 5


@given(length=st.integers(4, 40), size=st.integers(1, 9), seed=SEEDS, step=st.integers(0, 60), remix=st.booleans())
@settings(max_examples=60, deadline=None)
def test_batches_of_parts_need_no_history(length: int, size: int, seed: int, step: int, remix: bool) -> None:
    """A batch is a function of seed and step, whatever was read before: what a resume relies on."""
    one, other = (part_of(length, (0.0, 0.5), seed, remix=remix, size=size) for _ in range(2))
    steps = [*range(10)]
    random.Random(seed).shuffle(steps)
    for earlier in steps:
        other.batch(earlier)
    assert one.indices(step) == other.indices(step)
    assert numbers(one.batch(step)) == numbers(other.batch(step))


def test_all_is_not_cut() -> None:
    """One sample suffices where nothing is cut."""
    assert part_of(1, (0.0, 1.0), 0).pool.tolist() == [0]


@pytest.mark.abuse
@pytest.mark.parametrize("remix", [True, False])
def test_too_few_samples_are_refused(remix: bool) -> None:
    """One sample cannot be cut, and a stretch between two neighbours is empty."""
    with pytest.raises(InvalidConfig, match="1 training sample.* at least 2"):
        part_of(1, (0.0, 0.5), 0, remix=remix)
    with pytest.raises(InvalidConfig, match=r"10 training samples have none from 0.41 to 0.42"):
        part_of(10, (0.41, 0.42), 0, remix=remix)


@pytest.mark.abuse
@pytest.mark.parametrize("share", [(0.0, 0.0), (1.0, 1.0), (0.5, 0.4), (-0.1, 0.5), (0.0, float("nan")), (0.2, 1.1)])
def test_parts_without_extent_are_refused(share: tuple[float, float]) -> None:
    """A stretch lies between 0 and 1, and begins before it ends."""
    with pytest.raises(ValidationError):
        Part(share=share)
