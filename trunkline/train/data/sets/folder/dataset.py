"""A folder of images with class maps: ``{split}/images/*.jpg|png`` and ``{split}/labels/*.png``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from trunkline.errors import InvalidConfig, Problem
from trunkline.train.data.augment import Augmentation, crop_image, draw_crop
from trunkline.train.data.base import NORMALISATION, Sample, TaskInfo
from trunkline.train.data.check import check_labels
from trunkline.train.data.class_map import class_map
from trunkline.train.data.file_set import ClassPictures, Entry, FileSet
from trunkline.train.data.files import IMAGE_SUFFIXES, files_by_stem, picture_size, read_rgb, visible_files, wrong_size
from trunkline.train.data.sets.folder.boundaries import label_boundaries
from trunkline.train.labels.crop import whole

LABEL_SUFFIX = ".png"
_CLASSES = "segmentation"
"""The task that has label files."""


class ImageFolder:
    """Images with class maps, and optionally edges where classes meet.

    A label file has the name of its image. It holds class numbers, as grey values or palette indices, or values that
    ``values`` maps to classes, such as 0 and 255 of a mask, or colours. Edges are made after scaling and cropping, so
    they are two pixels wide at every size.

    Args:
        path: The folder that holds one folder per split.
        classes: Class names in label order.
        split: Name of the split's folder.
        size: Height and width of every sample. Without augmentation the whole picture is resized to it.
        values: Stored number, ``#RRGGBB`` or ``R,G,B`` → class name, or ``ignore``; by default number k is class k.
        ignore: Numbers that are ignored; 255 is one of them unless ``values`` maps it to a class.
        edges: ``"boundaries"`` adds a task "edges".
        augmentation: Random changes of samples that are read with a seed.

    Raises:
        InvalidConfig: all structural problems of the folder at once.
    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        split: str = "train",
        size: tuple[int, int] = (180, 240),
        values: Mapping[str, str] | None = None,
        ignore: Sequence[int] = (),
        edges: Literal["boundaries"] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self._class_map = class_map(classes, values, ignore)
        self.name = Path(path).name
        self.size = size
        self.normalisation = NORMALISATION
        self.tasks: Mapping[str, TaskInfo] = _tasks(tuple(classes), edges)
        self._augmentation = augmentation or Augmentation()
        self._root = Path(path)
        self._entries = _entries(self._root / split)
        check_labels(self)

    @property
    def files(self) -> FileSet:
        """The images and their label pictures."""
        used: set[Path] = set()
        for entry in self._entries:
            used |= set(entry.paths)
        unused: list[Path] = []
        for folder in sorted({path.parent for path in used}):
            unused += [path for path in visible_files(folder) if path not in used]
        # Edges lie between classes, so they too need labels of more than one.
        classes = ClassPictures(_CLASSES, self._class_map, (_CLASSES, "edges"))
        return FileSet(self._root, self._entries, (_CLASSES,), classes, unused)

    def __len__(self) -> int:
        return len(self._entries)

    def problems(self) -> list[Problem]:
        """Return missing label files, unreadable headers and sizes that differ from the image's."""
        pairs = [(entry.image, entry.labels[_CLASSES]) for entry in self._entries]
        # A label as .jpg is a common mistake, and its compression has changed the numbers.
        others = {path.stem: path for path in visible_files(pairs[0][1].parent) if path.suffix != LABEL_SUFFIX}
        found: list[Problem] = []
        for image, label in pairs:
            found += _problems(image, label, others.get(image.stem))
        return found

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        """Return one image; see :class:`trunkline.train.data.base.DataSet`."""
        entry = self._entries[index]
        path = entry.labels[_CLASSES]
        image, label = read_rgb(entry.image), self._class_map.labels(self._class_map.stored(path), path)
        if label.shape != image.shape[:2]:
            raise InvalidConfig(wrong_size(path, label.shape, image.shape))
        crop = whole(self.size)
        if seed is not None:
            crop = draw_crop(self._augmentation, (label.shape[0], label.shape[1]), self.size, index, seed)
        classes = self.tasks[_CLASSES].label.cropped(label, crop)
        labels = {_CLASSES: classes.astype(np.int64)}
        if "edges" in self.tasks:
            labels["edges"] = label_boundaries(classes)[None].astype(np.float32)
        return Sample(self.normalisation.apply(crop_image(image, crop)), labels)


def splits_of(path: Path) -> list[str]:
    """Return the names of the splits a folder holds, sorted."""
    if not path.is_dir():
        return []
    return sorted(child.name for child in path.iterdir() if (child / "images").is_dir())


def _tasks(classes: tuple[str, ...], edges: str | None) -> dict[str, TaskInfo]:
    tasks = {_CLASSES: TaskInfo("segmentation", len(classes), classes)}
    return tasks if edges is None else {**tasks, "edges": TaskInfo("edges", 1)}


def _entries(folder: Path) -> list[Entry]:
    images = files_by_stem(folder / "images", IMAGE_SUFFIXES)
    if not images:
        there = ", ".join(splits_of(folder.parent)) or "none"
        raise InvalidConfig(
            "the folder holds no .jpg or .png image", place=str(folder / "images"), advice=f"splits there: {there}"
        )
    return [Entry(path, {_CLASSES: folder / "labels" / f"{stem}{LABEL_SUFFIX}"}) for stem, path in images.items()]


def _problems(image: Path, label: Path, other: Path | None) -> list[Problem]:
    if not label.is_file():
        advice = "add the file, or take the image away"
        if other is not None:
            advice = f"{other.name} is there: write it as {LABEL_SUFFIX}, which keeps every number as it is"
        return [Problem(f"no label for image {image.name}", str(label), advice)]
    try:
        sizes = picture_size(image), picture_size(label)
    except InvalidConfig as error:
        return list(error.problems)
    return [] if sizes[0] == sizes[1] else [wrong_size(label, sizes[1], sizes[0])]
