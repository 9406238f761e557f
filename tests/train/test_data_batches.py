"""Batches and splits: pure functions of (seed, step), every sample used, no thread left behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from number_samples import Numbers, numbers

from trunkline.errors import InvalidConfig
from trunkline.train.data.batches import Batches, in_order
from trunkline.train.data.splits import Subset

pytestmark = pytest.mark.properties


@given(length=st.integers(1, 23), size=st.integers(1, 9), seed=st.integers(0, 99), step=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_batches_follow_seed_and_step(length: int, size: int, seed: int, step: int) -> None:
    """Whatever was read before."""
    one, other = (Batches(Numbers(length), batch_size=size, seed=seed) for _ in range(2))
    other.batch(step + 1)
    a, b = one.batch(step), other.batch(step)
    assert len(a) == size
    assert torch.equal(a.image, b.image)
    assert numbers(a) == one.indices(step)


@given(length=st.integers(1, 23), size=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_sample(length: int, size: int, seed: int) -> None:
    batches = Batches(Numbers(length), batch_size=size, seed=seed)
    for epoch in range(3):
        seen = [i for k in range(batches.per_epoch) for i in batches.indices(epoch * batches.per_epoch + k)]
        assert sorted(seen[:length]) == list(range(length))
        start_of_next = batches.indices((epoch + 1) * batches.per_epoch)
        filler = seen[length:]
        if length >= size:
            assert filler == start_of_next[: len(filler)]


def test_seed_and_epoch_change_the_order() -> None:
    """And the augmentation, but not which samples there are."""
    data = Numbers(20)
    orders = {tuple(Batches(data, batch_size=20, seed=seed).indices(step)) for seed in range(3) for step in range(3)}
    assert len(orders) == 9
    plain = Batches(data, batch_size=4, augment=False).batch(3)
    assert torch.equal(plain.image[:, 0, 0, 0], plain.labels["own"][:, 0, 0, 0])
    augmented = Batches(data, batch_size=4).batch(3)
    assert numbers(augmented) == numbers(plain)
    assert not torch.equal(augmented.image, plain.image)


def test_indices_limit_the_pool() -> None:
    batches = Batches(Numbers(20), indices=[3, 5, 8], batch_size=2)
    assert {i for step in range(9) for i in batches.indices(step)} == {3, 5, 8}


def test_absent_labels_are_filled_with_ignore() -> None:
    batch = Batches(Numbers(9), indices=[1, 3], batch_size=2).batch(0)
    rare = {n: batch.labels["rare"][k].unique().tolist() for k, n in enumerate(numbers(batch))}
    assert rare == {1: [255], 3: [1]}


def test_in_order_gives_every_sample_once() -> None:
    batches = list(in_order(Numbers(7), 3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [i for batch in batches for i in numbers(batch)] == list(range(7))
    assert [numbers(batch) for batch in in_order(Numbers(7), 3, [5, 2])] == [[5, 2]]


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"indices": []}, "empty"),
        ({"indices": [0, 9]}, "0..9"),
        ({"indices": [-1]}, "-1"),
    ],
)
def test_bad_batches_are_refused(options: dict[str, Any], words: str) -> None:
    """No batch, no samples, and numbers of samples that are not there."""
    with pytest.raises(InvalidConfig) as error:
        Batches(Numbers(5), **options)
    assert words in str(error.value)


def test_a_subset_is_a_data_set() -> None:
    part = Subset(Numbers(9), [7, 2])
    assert len(part) == 2
    assert numbers(Batches(part, batch_size=2, augment=False).batch(0)) in ([7, 2], [2, 7])
    assert numbers(next(in_order(part, 2))) == [7, 2]
