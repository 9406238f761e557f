"""Batches of a data set. Which samples a batch holds, and how they are augmented, depends on (seed, step) alone.

A run that stops at any step thus resumes with the same data, and its checkpoint holds no state of a loader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trunkline.errors import InvalidConfig
from trunkline.text import quoted
from trunkline.train.data.base import DataSet, random_generator

# Draws for different purposes take different streams of one seed; a new number would change every run.
_ORDER_STREAM = 11
_AUGMENT_STREAM = 13


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples stacked along a new first axis.

    Attributes:
        image: ``[N, 3, H, W]``, normalised.
        labels: By task name, ``[N, ...]`` in the form that the kind of task has.
        labelled: By task name, which samples have a label in which anything counts. A task that is not named here
            has one in all samples. These are Python values, so that reading them never waits for a device.

    >>> image, classes = torch.zeros(2, 3, 8, 8), torch.tensor([4, -1])
    >>> batch = Batch(image, {"object": classes}, {"object": (True, False)})
    >>> len(batch), batch.has_label("object")
    (2, True)
    """

    image: Tensor
    labels: dict[str, Tensor]
    labelled: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.image.shape[0])

    def has_label(self, task: str) -> bool:
        """Return whether any sample has a label for ``task``."""
        return any(self.labelled.get(task, (True,)))

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on ``device``."""
        labels = {name: label.to(device, non_blocking=True) for name, label in self.labels.items()}
        return Batch(self.image.to(device, non_blocking=True), labels, self.labelled)


class Batches:
    """Endless, shuffled batches of constant size.

    Args:
        dataset: The data set that samples come from.
        indices: Numbers of the samples to use; None for all.
        batch_size: Samples per batch.
        seed: With the step, decides everything random.
        augment: Whether samples are augmented.

    Raises:
        InvalidConfig: no samples, a batch size below 1, or a sample number outside the data set.

    >>> from trunkline.train.data.open import open_data
    >>> data = open_data({"kind": "scenes", "length": 5, "size": [16, 24], "tasks": ["depth"]})
    >>> batches = Batches(data.train, batch_size=2)
    >>> batches.batch(step=0).image.shape
    torch.Size([2, 3, 16, 24])
    >>> [len(batches.indices(step)) for step in range(batches.per_epoch)]
    [2, 2, 2]
    """

    def __init__(
        self,
        dataset: DataSet,
        indices: Sequence[int] | None = None,
        batch_size: int = 8,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        self.dataset = dataset
        self.pool = np.arange(len(dataset)) if indices is None else np.array(indices, np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        if batch_size < 1:
            raise InvalidConfig(f"the batch size is {batch_size}, expected at least 1", place="batch_size")
        if len(self.pool) == 0:
            found = f"data set {quoted(dataset.name)} or the chosen part of it is empty"
            raise InvalidConfig(f"no samples to train on: {found}")
        if self.pool.min() < 0 or self.pool.max() >= len(dataset):
            raise InvalidConfig(
                f"sample numbers {self.pool.min()}..{self.pool.max()} do not fit data set {quoted(dataset.name)} "
                f"of {len(dataset)} samples"
            )

    @property
    def per_epoch(self) -> int:
        """Batches that together hold every sample at least once."""
        return -(-len(self.pool) // self.batch_size)

    def indices(self, step: int) -> list[int]:
        """Return the sample numbers of batch ``step``.

        An epoch walks through a permutation; its last batch is filled up from the next epoch's permutation.
        """
        epoch, position = divmod(step, self.per_epoch)
        start = position * self.batch_size
        # All of one size: a last batch of a sample or two would be normalised by its few values, if at all.
        chosen: list[int] = self._order(epoch)[start : start + self.batch_size].tolist()
        while len(chosen) < self.batch_size:
            epoch += 1
            chosen += self._order(epoch)[: self.batch_size - len(chosen)].tolist()
        return chosen

    def batch(self, step: int) -> Batch:
        """Return batch ``step``: a pure function of (seed, step)."""
        chosen = self.indices(step)
        seeds: list[int | None] = [None] * len(chosen)
        if self.augment:
            seeds = random_generator(self.seed, _AUGMENT_STREAM, step).integers(2**31, size=len(chosen)).tolist()
        return collate(self.dataset, chosen, seeds)

    def _order(self, epoch: int) -> np.ndarray:
        order: np.ndarray = self.pool[random_generator(self.seed, _ORDER_STREAM, epoch).permutation(len(self.pool))]
        return order


def collate(dataset: DataSet, indices: Sequence[int], seeds: Sequence[int | None]) -> Batch:
    """Load samples and stack them; a sample without a label for a task gets one in which nothing counts."""
    samples = [dataset.sample(index, seed=seed) for index, seed in zip(indices, seeds, strict=True)]
    image = torch.from_numpy(np.stack([sample.image for sample in samples]))
    labels, labelled = {}, {}
    for name, info in dataset.tasks.items():
        empty = info.label.empty(dataset.size)
        stack = [sample.labels.get(name, empty) for sample in samples]
        labels[name] = torch.from_numpy(np.stack(stack))
        # Here, in the thread that makes batches ahead, and before the labels go to a device.
        labelled[name] = tuple(info.label.is_labelled(label) for label in stack)
    return Batch(image, labels, labelled)


def in_order(dataset: DataSet, batch_size: int, indices: Sequence[int] | None = None) -> Iterator[Batch]:
    """Yield every sample once, in order and not augmented, for validation; the last batch may be smaller."""
    chosen = list(range(len(dataset)) if indices is None else indices)
    for start in range(0, len(chosen), batch_size):
        part = chosen[start : start + batch_size]
        yield collate(dataset, part, [None] * len(part))
