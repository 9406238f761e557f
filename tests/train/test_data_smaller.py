"""Data at a share of its size: images averaged, labels by nearest neighbour, of every split and phase that asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from number_samples import Numbers

from trunkline.errors import InvalidConfig
from trunkline.recipe import Part, Phase
from trunkline.train.data.base import NORMALISATION, DataSets, Sample, TaskInfo
from trunkline.train.data.batches import Batches
from trunkline.train.data.open import open_data
from trunkline.train.data.smaller import Smaller, size_at
from trunkline.train.labels.crop import Size
from trunkline.train.loop.batch_feed import SplitData, split_data

pytestmark = pytest.mark.golden


class Ramps:
    """A picture that rises along its columns, a class for each quarter of it, and one for the whole."""

    name = "ramps"
    size: Size = (4, 8)
    normalisation = NORMALISATION
    files = None
    tasks = {"seg": TaskInfo("segmentation", 99), "kind": TaskInfo("classification", 5)}

    def __len__(self) -> int:
        return 6

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        columns = np.arange(8, dtype=np.float32) + (0 if seed is None else 100)
        labels = {"seg": np.arange(32).reshape(4, 8), "kind": np.array(index % 5)}
        return Sample(np.broadcast_to(columns, (3, 4, 8)).copy(), labels)


def test_images_are_averaged() -> None:
    """Half the size: each pixel is a weighted mean of those that it stands for, so a ramp stays one in its middle."""
    small = Smaller(Ramps(), 0.5).sample(0)
    assert small.image.shape == (3, 2, 4) and small.image.dtype == np.float32
    np.testing.assert_allclose(small.image[0, 0, 1:3], [2.5, 4.5], atol=1e-5)
    # By a triangle two pixels wide on either side, cut at the border: (3·0 + 3·1 + 1·2) / 7.
    np.testing.assert_allclose(small.image[0, 0, 0], 5 / 7, atol=1e-5)


def test_labels_are_taken_by_nearest_neighbour() -> None:
    """Classes stay classes, as every label is taken from a larger picture; a label of the whole image stays."""
    small = Smaller(Ramps(), 0.5).sample(3)
    assert small.labels["seg"].tolist() == [[9, 11, 13, 15], [25, 27, 29, 31]]
    assert small.labels["kind"].tolist() == 3


def test_only_the_size_is_another() -> None:
    """Same samples, same order, same augmentation; missing labels are empty at the size."""
    whole, small = Ramps(), Smaller(Ramps(), 0.5)
    assert (len(small), small.name, small.size, dict(small.tasks)) == (6, "ramps", (2, 4), whole.tasks)
    batches = [Batches(data, batch_size=4, seed=2) for data in (whole, small)]
    assert batches[0].indices(3) == batches[1].indices(3)
    pictures = [each.batch(3).image for each in batches]
    assert float(pictures[1].min()) > 99 and pictures[1].shape == (4, 3, 2, 4)
    rare = Smaller(Numbers(4), 0.5)
    assert Batches(rare, batch_size=4).batch(0).labels["rare"].shape == (4, 1, 2)


@pytest.mark.parametrize(("resolution", "size"), [(0.5, (2, 4)), (2 / 3, (3, 5)), (0.01, (1, 1)), (1.0, (4, 8))])
def test_sizes_are_rounded_to_pixels(resolution: float, size: Size) -> None:
    assert size_at((4, 8), resolution) == size


def test_all_splits_are_smaller() -> None:
    """Of a real data set; the whole one is not touched, and all kinds of labels follow the image."""
    data = open_data({"kind": "scenes", "length": 4, "val_length": 2, "test_length": 2, "size": [16, 24]})
    feed = split_data(data, batch_size=2, seed=0)
    small = feed.at(0.5)
    assert feed.at(1.0) is feed
    for source, size in ((feed, (16, 24)), (small, (8, 12))):
        batch = source.source(Part()).batch(0)
        assert batch.image.shape[2:] == size
        assert all(label.shape[-2:] == size for label in batch.labels.values())
        for split in ("val", "test"):
            assert {one.image.shape[2:] for one in source.evaluation(split)} == {torch.Size(size)}


def test_a_split_that_is_missing_stays_missing() -> None:
    data = DataSets(Ramps(), None, Ramps())
    small = split_data(data, batch_size=2, seed=0).at(0.5)
    with pytest.raises(InvalidConfig, match="no validation split"):
        small.evaluation("val")


def test_batches_of_one_size_are_refused() -> None:
    fixed = SplitData(lambda part: Batches(Ramps()), {})
    with pytest.raises(InvalidConfig, match="one size only"):
        fixed.at(0.5)
    assert fixed.at(1.0) is fixed


@pytest.mark.parametrize("resolution", [0.0, 1.5, -0.5])
def test_shares_are_shares(resolution: float) -> None:
    with pytest.raises(ValueError, match="resolution"):
        Phase(steps=1, resolution=resolution)
