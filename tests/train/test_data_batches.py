"""Batches and splits: pure functions of (seed, step), every sample used, no thread left behind."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.train.data.base import NORMALISATION, Sample, TaskInfo
from trunkline.train.data.batches import Batches, in_order
from trunkline.train.data.splits import Subset, split

pytestmark = pytest.mark.properties


class Numbers:
    """Sample i is a picture full of i; augmentation adds a number drawn from the seed; task "rare" is often absent."""

    name = "numbers"
    size = (2, 3)
    normalisation = NORMALISATION
    tasks = {"own": TaskInfo("depth", 1), "rare": TaskInfo("segmentation", 4)}

    def __init__(self, length, broken=()):
        self.length, self.broken = length, broken

    def __len__(self):
        return self.length

    def sample(self, index, *, seed=None):
        if index in self.broken:
            raise WorkFailed(f"sample {index} is broken")
        noise = 0 if seed is None else np.random.default_rng([seed, index]).random()
        labels = {"own": np.full((1, 2, 3), index, np.float32)}
        if index % 3 == 0:
            labels["rare"] = np.ones((2, 3), np.int64)
        return Sample(np.full((3, 2, 3), index + noise, np.float32), labels)


def numbers(batch):
    return batch.labels["own"][:, 0, 0, 0].int().tolist()


@given(length=st.integers(1, 23), size=st.integers(1, 9), seed=st.integers(0, 99), step=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_a_function_of_seed_and_step(length, size, seed, step):
    one, other = (Batches(Numbers(length), batch_size=size, seed=seed) for _ in range(2))
    other.batch(step + 1)
    a, b = one.batch(step), other.batch(step)
    assert len(a) == size
    assert torch.equal(a.image, b.image)
    assert numbers(a) == one.indices(step)


@given(length=st.integers(1, 23), size=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_sample(length, size, seed):
    batches = Batches(Numbers(length), batch_size=size, seed=seed)
    for epoch in range(3):
        seen = [i for k in range(batches.per_epoch) for i in batches.indices(epoch * batches.per_epoch + k)]
        assert sorted(seen[:length]) == list(range(length))
        start_of_next = batches.indices((epoch + 1) * batches.per_epoch)
        filler = seen[length:]
        if length >= size:
            assert filler == start_of_next[: len(filler)]


def test_order_and_augmentation_change_with_seed_and_epoch():
    data = Numbers(20)
    orders = {tuple(Batches(data, batch_size=20, seed=seed).indices(step)) for seed in range(3) for step in range(3)}
    assert len(orders) == 9
    plain = Batches(data, batch_size=4, augment=False).batch(3)
    assert torch.equal(plain.image[:, 0, 0, 0], plain.labels["own"][:, 0, 0, 0])
    augmented = Batches(data, batch_size=4).batch(3)
    assert numbers(augmented) == numbers(plain)
    assert not torch.equal(augmented.image, plain.image)


def test_indices_limit_the_pool():
    batches = Batches(Numbers(20), indices=[3, 5, 8], batch_size=2)
    assert {i for step in range(9) for i in batches.indices(step)} == {3, 5, 8}


def test_absent_labels_are_filled_with_ignore():
    batch = Batches(Numbers(9), indices=[1, 3], batch_size=2).batch(0)
    rare = {n: batch.labels["rare"][k].unique().tolist() for k, n in enumerate(numbers(batch))}
    assert rare == {1: [255], 3: [1]}


def test_in_order_gives_every_sample_once():
    batches = list(in_order(Numbers(7), 3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [i for batch in batches for i in numbers(batch)] == list(range(7))
    assert [numbers(batch) for batch in in_order(Numbers(7), 3, [5, 2])] == [[5, 2]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"indices": []}, "empty"),
        ({"indices": [0, 9]}, "0..9"),
        ({"indices": [-1]}, "-1"),
    ],
)
def test_abuse_of_batches(options, words):
    with pytest.raises(InvalidConfig) as error:
        Batches(Numbers(5), **options)
    assert words in str(error.value)


@given(length=st.integers(2, 300), seed=st.integers(0, 99), fraction=st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_a_split_divides_the_samples(length, seed, fraction):
    parts = split(length, seed, fraction)
    assert parts == split(length, seed, fraction)
    assert sorted(parts.train1 + parts.train2) == list(range(length))
    assert parts.train1
    assert parts.train2
    assert abs(len(parts.train2) - length * fraction) <= 1
    assert parts.as_dict() == {"train1": list(parts.train1), "train2": list(parts.train2)}


def test_golden_split():
    assert split(10, seed=0).train2 == split(10, seed=0, policy_fraction=0.2).train2
    assert len(split(2975, 0).train2) == 595


@pytest.mark.parametrize(("length", "fraction"), [(1, 0.2), (10, 0.0), (10, 1.0), (10, float("nan"))])
def test_abuse_of_split(length, fraction):
    with pytest.raises(InvalidConfig):
        split(length, 0, fraction)


def test_a_subset_is_a_data_set():
    part = Subset(Numbers(9), [7, 2])
    assert len(part) == 2
    assert numbers(Batches(part, batch_size=2, augment=False).batch(0)) in ([7, 2], [2, 7])
    assert numbers(next(in_order(part, 2))) == [7, 2]
