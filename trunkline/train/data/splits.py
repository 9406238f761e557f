"""Cuts the training samples in two: one part trains weights, the other trains the sharing policy.

A policy that were trained on the samples its weights have seen would prefer whatever over-fits them (AdaShare and
AutoMTL keep such parts as ``train1`` and ``train2``, 80 % and 20 %).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trunkline.errors import InvalidConfig
from trunkline.train.data.base import DataSet, Sample, TaskInfo, random_generator

_STREAM = 7_001


@dataclass(frozen=True, slots=True)
class Split:
    """Two disjoint, sorted lists of sample numbers that together hold every sample once.

    Attributes:
        train1: For weights.
        train2: For the policy.
    """

    train1: tuple[int, ...]
    train2: tuple[int, ...]

    def as_dict(self) -> dict[str, list[int]]:
        """Return plain lists, to be recorded with the run."""
        return {"train1": list(self.train1), "train2": list(self.train2)}


def split(dataset_len: int, seed: int, policy_fraction: float = 0.2) -> Split:
    """Draw a split; the same numbers always give the same one.

    Raises:
        InvalidConfig: the fraction leaves a part empty.
    """
    if not 0 < policy_fraction < 1:
        raise InvalidConfig(
            f"the policy's part of the training data is {policy_fraction}, expected a number between 0 and 1",
            place="policy_fraction",
        )
    if dataset_len < 2:
        raise InvalidConfig(f"{dataset_len} training sample(s) cannot be cut in two parts, at least 2 are needed")
    count = min(max(1, round(dataset_len * policy_fraction)), dataset_len - 1)
    order = random_generator(seed, _STREAM).permutation(dataset_len).tolist()
    return Split(train1=tuple(sorted(order[count:])), train2=tuple(sorted(order[:count])))


class Subset:
    """Some samples of a data set, as a data set of its own.

    Args:
        dataset: The whole.
        indices: Sample numbers in it.
    """

    def __init__(self, dataset: DataSet, indices: Sequence[int]) -> None:
        self.name = dataset.name
        self.tasks: Mapping[str, TaskInfo] = dataset.tasks
        self.size = dataset.size
        self.normalisation = dataset.normalisation
        self._dataset = dataset
        self._indices = tuple(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        """Return one sample of the part; see :class:`trunkline.train.data.base.DataSet`."""
        return self._dataset.sample(self._indices[index], seed=seed)
