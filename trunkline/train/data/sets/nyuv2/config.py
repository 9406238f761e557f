"""The ``[data]`` table of NYUv2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from trunkline.train.data.base import DataSet, DataSets
from trunkline.train.data.config import AugmentationConfig, DataSetConfig, Fraction, Pixels, Seed
from trunkline.train.data.roles import percent, roles, with_held_out
from trunkline.train.data.sets.nyuv2.dataset import TASKS, NYUv2, NYUv2Task
from trunkline.train.data.sets.nyuv2.lists import ALL, list_of, listed_splits
from trunkline.train.data.splits import Subset, split


class NYUv2Config(DataSetConfig):
    """See :class:`trunkline.train.data.sets.nyuv2.dataset.NYUv2`.

    Without a list "test" the list "val" reports. Without a list that chooses, ``val_fraction`` of the training samples
    are held out for it; 0 holds out none. Without any list, ``test_fraction`` of all samples, drawn with ``seed``,
    reports.
    """

    kind: Literal["nyuv2"]
    path: Path
    size: tuple[Pixels, Pixels] = (480, 640)
    tasks: Annotated[tuple[NYUv2Task, ...], Field(min_length=1)] = TASKS
    classes: Literal[13, 40] = 40
    space: Literal["decoded", "paper"] = "decoded"
    missing: Literal["error", "ignore"] = "error"
    augmentation: AugmentationConfig = AugmentationConfig()
    val_fraction: Fraction = 0.1
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: Seed = 0

    def open(self) -> DataSets:
        """Open the listed splits, or cut a folder without lists.

        Raises:
            InvalidConfig: A list cannot be read, or the folder is faulty.
        """
        names = roles(listed_splits(self.path))
        if not names:
            return self._without_lists()
        splits: dict[str, DataSet] = {role: self._samples(name) for role, name in names.items()}
        origin = {role: list_of(self.path, name) for role, name in names.items()}
        return with_held_out(splits, origin, self.val_fraction, self.seed)

    def _without_lists(self) -> DataSets:
        everything = self._samples(ALL)
        # What reports is cut first, so that it stays the same whatever `val_fraction` is.
        rest, reported = split(len(everything), self.seed, self.test_fraction, "test_fraction")
        drawn = f"{percent(self.test_fraction)} of all samples, drawn with seed {self.seed}"
        splits = {"train": Subset(everything, rest), "test": Subset(everything, reported)}
        return with_held_out(splits, {"train": "the other samples", "test": drawn}, self.val_fraction, self.seed)

    def _samples(self, split: str) -> NYUv2:
        options: dict[str, Any] = self.model_dump(
            exclude={"kind", "augmentation", "val_fraction", "test_fraction", "seed"}
        )
        return NYUv2(split=split, augmentation=self.augmentation.augmentation(), **options)
