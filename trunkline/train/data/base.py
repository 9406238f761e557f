"""Data sets: numbered samples of one image and its labels by task; and how images are normalised.

The form of a label depends on the kind of its task (:attr:`trunkline.train.tasks.base.Task.label`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trunkline.train.labels.label_kind import LabelKind
from trunkline.train.tasks.registry import task_kind

if TYPE_CHECKING:
    from trunkline.train.data.file_set import FileSet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """The formula from an RGB picture to a model's input: ``(value / 255 - mean) / std``, per channel.

    Exported models record it, so that they are run on the same input that they were trained on.

    >>> grey = np.full((1, 1, 3), 124, np.uint8)
    >>> [f"{value:.3f}" for value in NORMALISATION.apply(grey).ravel()]
    ['0.006', '0.135', '0.357']
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def apply(self, rgb: np.ndarray) -> np.ndarray:
        """Return uint8 ``[H, W, 3]`` as float32 ``[3, H, W]``."""
        scaled = rgb.astype(np.float32) / np.float32(255)
        normalised: np.ndarray = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))

    def undo(self, image: np.ndarray) -> np.ndarray:
        """Return float ``[3, H, W]`` as uint8 ``[H, W, 3]``, for pictures in reports."""
        scaled = image.transpose(1, 2, 0) * np.array(self.std) + np.array(self.mean)
        rgb: np.ndarray = np.clip(scaled * 255 + 0.5, 0, 255).astype(np.uint8)
        return rgb


NORMALISATION = Normalisation()
"""The ImageNet statistics, which every data set here uses and common pre-trained weights expect."""


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A data set's labels for one task.

    Attributes:
        kind: A kind of task, one of :func:`trunkline.train.tasks.registry.task_kinds`.
        channels: Channels a head must put out: the number of classes, 3 for normals, otherwise 1.
        classes: Class names in label order; empty where the kind has none.
        options: Options that the labels require of the task, e.g. ``{"space": "paper"}``.

    >>> TaskInfo("segmentation", 2, ("background", "road")).label.output_text(2)
    '[N, 2, h, w]'
    """

    kind: str
    channels: int
    classes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> LabelKind:
        """The form of the labels, which depends on the kind."""
        return task_kind(self.kind).label


@dataclass(frozen=True, slots=True)
class Sample:
    """One image, float32 ``[3, H, W]``, normalised, and its labels by task name."""

    image: np.ndarray
    labels: dict[str, np.ndarray]


class DataSet(Protocol):
    """Samples of one size, by number."""

    @property
    def name(self) -> str:
        """Short name, for reports."""

    @property
    def tasks(self) -> Mapping[str, TaskInfo]:
        """The labels that there are, by task name."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image and label."""

    @property
    def normalisation(self) -> Normalisation:
        """The normalisation of the images."""

    @property
    def files(self) -> FileSet | None:
        """The files that it reads; None where it is generated."""

    def __len__(self) -> int: ...

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        """Return sample ``index``; with a seed it is augmented, as a pure function of (index, seed).

        Raises:
            InvalidConfig: a file of the sample cannot be read, or holds impossible values.
        """


@dataclass(frozen=True, slots=True)
class DataSets:
    """The data of a run in three splits: to train, to choose, to report. No sample is in two of them.

    Attributes:
        train: Trains weights and policy.
        val: Chooses, for example which weights are the best; None where nothing was held out for that.
        test: Gives the metrics that are reported.
        origin: By split, where its samples come from, in words.

    >>> from trunkline.train.data.open import open_data
    >>> data = open_data({"kind": "scenes", "length": 10, "size": [16, 24], "tasks": ["depth"]})
    >>> {name: len(split) for name, split in data.parts.items()}
    {'train': 10, 'val': 200, 'test': 200}
    >>> sample = data.train.sample(0)
    >>> sample.image.shape, sample.labels["depth"].shape
    ((3, 16, 24), (1, 16, 24))
    """

    train: DataSet
    val: DataSet | None
    test: DataSet
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, DataSet]:
        """The splits that there are, by name."""
        found = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in found.items() if split is not None}


def random_generator(*numbers: int) -> np.random.Generator:
    """Return a generator that is a pure function of the given non-negative numbers, on every platform."""
    # Named in full: what default_rng stands for may change between releases of numpy.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(numbers)))
