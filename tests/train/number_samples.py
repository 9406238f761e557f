"""A data set whose samples are their numbers: see `Numbers`."""

from __future__ import annotations

import numpy as np

from trunkline.train.data.base import NORMALISATION, Sample, TaskInfo
from trunkline.train.data.batches import Batch


class Numbers:
    """Sample i is a picture full of i; augmentation adds a number drawn from the seed; task "rare" is often absent."""

    name = "numbers"
    size = (2, 3)
    normalisation = NORMALISATION
    tasks = {"own": TaskInfo("depth", 1), "rare": TaskInfo("segmentation", 4)}

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        noise = 0 if seed is None else np.random.default_rng([seed, index]).random()
        labels = {"own": np.full((1, 2, 3), index, np.float32)}
        if index % 3 == 0:
            labels["rare"] = np.ones((2, 3), np.int64)
        return Sample(np.full((3, 2, 3), index + noise, np.float32), labels)


def numbers(batch: Batch) -> list[int]:
    """The samples of a batch."""
    return batch.labels["own"][:, 0, 0, 0].int().tolist()
