"""A folder of images with class maps: ``{split}/images/*.jpg|png`` and ``{split}/labels/*.png``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from trunkline.errors import InvalidConfig, Problem
from trunkline.train.data.augment import Augmentation, cut_image, cut_label, draw_window, whole
from trunkline.train.data.base import IGNORE, NORMALISATION, Sample, TaskInfo
from trunkline.train.data.boundaries import label_boundaries
from trunkline.train.data.check import check_labels, raise_all
from trunkline.train.data.files import IMAGE_SUFFIXES, files_by_stem, outside, picture_size, read_numbers, read_rgb


class Folder:
    """Images with class maps, and optionally edges where classes meet.

    Label files carry the image's name and hold class numbers, as grey values or palette indices. Edges are made
    after scaling and cropping, so they are two pixels wide at every size.

    Args:
        path: The folder that holds one folder per split.
        classes: Class names in label order.
        split: Name of the split's folder.
        size: Height and width of every sample. Without augmentation the whole picture is resized to it.
        ignore: Label values that count for nothing; 255 always is one.
        edges: ``"boundaries"`` adds a task "edges".
        augmentation: How training samples vary.

    Raises:
        InvalidConfig: all structural problems of the folder at once.
    """

    def __init__(
        self,
        path: Path | str,
        classes: Sequence[str],
        split: str = "train",
        size: tuple[int, int] = (180, 240),
        ignore: Sequence[int] = (IGNORE,),
        edges: Literal["boundaries"] | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        _check_classes(classes, ignore)
        self.name = Path(path).name
        self.size = size
        self.normalisation = NORMALISATION
        self.tasks: Mapping[str, TaskInfo] = _tasks(tuple(classes), edges)
        self._classes = len(classes)
        self._table = _table(len(classes), ignore)
        self._augmentation = augmentation or Augmentation()
        self._pairs = _pairs(Path(path) / split)
        check_labels(self)

    def __len__(self) -> int:
        return len(self._pairs)

    def problems(self) -> list[Problem]:
        """Return missing label files, unreadable headers and sizes that differ from the image's."""
        return [problem for image, label in self._pairs for problem in _pair_problems(image, label)]

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        """Return one image; see :class:`trunkline.train.data.base.DataSet`."""
        image_path, label_path = self._pairs[index]
        image, label = read_rgb(image_path), self._label(label_path)
        if label.shape != image.shape[:2]:
            raise InvalidConfig(_wrong_size(label_path, label.shape, image.shape))
        window = whole(self.size)
        if seed is not None:
            window = draw_window(self._augmentation, (label.shape[0], label.shape[1]), self.size, index, seed)
        classes = cut_label("segmentation", label, window)
        labels = {"segmentation": classes.astype(np.int64)}
        if "edges" in self.tasks:
            labels["edges"] = label_boundaries(classes)[None].astype(np.float32)
        return Sample(self.normalisation.apply(cut_image(image, window)), labels)

    def _label(self, path: Path) -> np.ndarray:
        stored = read_numbers(path)
        known = np.isin(stored, np.flatnonzero(self._table >= 0))
        problem = outside(stored, known, path, f"a class 0..{self._classes - 1} or an ignored value")
        raise_all([problem] if problem else [])
        mapped: np.ndarray = self._table[stored].astype(np.uint8)
        return mapped


def splits_of(path: Path) -> list[str]:
    """Return the names of the splits a folder holds, sorted."""
    return sorted(child.name for child in path.iterdir() if (child / "images").is_dir()) if path.is_dir() else []


def _tasks(classes: tuple[str, ...], edges: str | None) -> dict[str, TaskInfo]:
    tasks = {"segmentation": TaskInfo("segmentation", len(classes), classes)}
    return tasks if edges is None else {**tasks, "edges": TaskInfo("edges", 1)}


def _table(classes: int, ignore: Sequence[int]) -> np.ndarray:
    """Return ``[256]``: the label of every stored value, 255 for ignored ones, -1 for impossible ones."""
    table = np.full(256, -1, np.int64)
    table[:classes] = np.arange(classes)
    table[[*ignore, IGNORE]] = IGNORE
    return table


def _check_classes(classes: Sequence[str], ignore: Sequence[int]) -> None:
    problems = []
    if not 2 <= len(classes) <= IGNORE:
        problems.append(Problem(f"{len(classes)} class names, expected 2 to {IGNORE}", "classes"))
    problems += [Problem(f"{v}, expected a value 0..255", "ignore") for v in ignore if not 0 <= v <= IGNORE]
    raise_all(problems)


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    images = files_by_stem(folder / "images", IMAGE_SUFFIXES)
    if not images:
        there = ", ".join(splits_of(folder.parent)) or "none"
        raise InvalidConfig(
            "the folder holds no .jpg or .png image", place=str(folder / "images"), advice=f"splits there: {there}"
        )
    return [(path, folder / "labels" / f"{stem}.png") for stem, path in images.items()]


def _pair_problems(image: Path, label: Path) -> list[Problem]:
    if not label.is_file():
        return [Problem(f"no label for image {image.name}", str(label), "add the file, or take the image away")]
    try:
        sizes = picture_size(image), picture_size(label)
    except InvalidConfig as error:
        return list(error.problems)
    return [] if sizes[0] == sizes[1] else [_wrong_size(label, sizes[1], sizes[0])]


def _wrong_size(path: Path, here: tuple[int, ...], image: tuple[int, ...]) -> Problem:
    return Problem(f"{here[0]} x {here[1]} pixels, but its image has {image[0]} x {image[1]}", place=str(path))
