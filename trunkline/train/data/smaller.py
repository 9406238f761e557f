"""A data set at a share of its height and width: what a search may run on, where only its plan is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from trunkline.train.data.base import DataSet, DataSets, Normalisation, Sample, TaskInfo
from trunkline.train.labels.crop import Size, whole

if TYPE_CHECKING:
    from trunkline.train.data.file_set import FileSet


def size_at(size: Size, resolution: float) -> Size:
    """Return the height and width that are a share of ``size``, to the nearest pixel.

    >>> size_at((512, 342), 0.5), size_at((480, 640), 2 / 3)
    ((256, 171), (320, 427))
    """
    return max(1, round(size[0] * resolution)), max(1, round(size[1] * resolution))


def smaller(data: DataSets, resolution: float) -> DataSets:
    """Return all splits of a data set at a share of its height and width."""
    val = None if data.val is None else Smaller(data.val, resolution)
    return DataSets(Smaller(data.train, resolution), val, Smaller(data.test, resolution), data.origin)


@dataclass(frozen=True, slots=True)
class Smaller:
    """A data set whose samples are made smaller: as it gives them, augmented or not, and then resized as a whole.

    Images are resized bilinearly, with the pixels in between averaged, labels by nearest neighbour.

    Attributes:
        dataset: The data set.
        resolution: Share of its height and width.
    """

    dataset: DataSet
    resolution: float

    @property
    def name(self) -> str:
        """Short name, for reports."""
        return self.dataset.name

    @property
    def tasks(self) -> Mapping[str, TaskInfo]:
        """The labels that there are, by task name."""
        return self.dataset.tasks

    @property
    def size(self) -> Size:
        """Height and width of every image and label."""
        return size_at(self.dataset.size, self.resolution)

    @property
    def normalisation(self) -> Normalisation:
        """The normalisation of the images."""
        return self.dataset.normalisation

    @property
    def files(self) -> FileSet | None:
        """The files that it reads; None where it is generated."""
        return self.dataset.files

    def __len__(self) -> int:
        return len(self.dataset)

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        """Return sample ``index`` of the data set, smaller."""
        sample = self.dataset.sample(index, seed=seed)
        shown = whole(self.size)
        labels = {name: self.tasks[name].label.cropped(label, shown) for name, label in sample.labels.items()}
        return Sample(_resized(sample.image, self.size), labels)


def _resized(image: np.ndarray, size: Size) -> np.ndarray:
    """Return ``[3, H, W]`` at another height and width."""
    batch = torch.from_numpy(image)[None]
    resized: np.ndarray = F.interpolate(batch, size=size, mode="bilinear", antialias=True)[0].numpy()
    return resized
