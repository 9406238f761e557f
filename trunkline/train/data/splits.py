"""Cut samples in two, to hold some out. Choosing by the samples that are reported would report too good a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from trunkline.errors import InvalidConfig
from trunkline.train.data.base import DataSet, Sample, TaskInfo, random_generator
from trunkline.train.data.file_set import FileSet

Key = Literal["val_fraction", "test_fraction"]
# Streams of their own: the same seed must not hold out the same samples twice.
_STREAMS: Mapping[Key, int] = {"val_fraction": 7_002, "test_fraction": 7_003}


def split(length: int, seed: int, fraction: float, key: Key) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draw ``fraction`` of the sample numbers below ``length``, at least one; return the others and those, sorted.

    Args:
        length: Number of samples.
        seed: With the key, decides which samples are drawn.
        fraction: Share of the samples to draw, above 0 and below 1.
        key: The key of the pipeline file that gives the fraction.

    Raises:
        InvalidConfig: the fraction leaves one of the two empty.

    >>> others, drawn = split(10, seed=0, fraction=0.2, key="val_fraction")
    >>> len(others), len(drawn)
    (8, 2)
    """
    if not 0 < fraction < 1:
        raise InvalidConfig(f"a share of the data is {fraction}, expected a number between 0 and 1", place=key)
    if length < 2:
        raise InvalidConfig(f"{length} training sample(s) cannot be cut in two, at least 2 are needed", place=key)
    count = min(max(1, round(length * fraction)), length - 1)
    order = random_generator(seed, _STREAMS[key]).permutation(length).tolist()
    return tuple(sorted(order[count:])), tuple(sorted(order[:count]))


class Subset:
    """Some samples of a data set, as a data set of its own.

    Args:
        dataset: The whole data set.
        indices: The numbers, in the whole data set, of the samples in the subset.
    """

    def __init__(self, dataset: DataSet, indices: Sequence[int]) -> None:
        self.name = dataset.name
        self.tasks: Mapping[str, TaskInfo] = dataset.tasks
        self.size = dataset.size
        self.normalisation = dataset.normalisation
        self.indices = tuple(indices)
        self._dataset = dataset

    @property
    def files(self) -> FileSet | None:
        """The subset's files."""
        whole = self._dataset.files
        return None if whole is None else whole.part(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        """Return one sample of the subset; see :class:`trunkline.train.data.base.DataSet`."""
        return self._dataset.sample(self.indices[index], seed=seed)
