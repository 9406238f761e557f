"""NYUv2 in the folder layout of AdaShare, NDDR-CNN and AutoMTL: ``img/ seg/ normal_mask/ depth/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.text import quoted
from trunkline.train.data.augment import Augmentation, crop_image, draw_crop
from trunkline.train.data.base import NORMALISATION, Sample, TaskInfo
from trunkline.train.data.check import check_labels, raise_all
from trunkline.train.data.class_map import ClassMap
from trunkline.train.data.file_set import ClassPictures, Entry, FileSet
from trunkline.train.data.files import array_size, outside, picture_size, read_array, read_rgb, wrong_size
from trunkline.train.data.sets.nyuv2.classes import CLASSES_13, CLASSES_40, mapping_40_to_13
from trunkline.train.data.sets.nyuv2.lists import entries, expected_label
from trunkline.train.labels.crop import Crop, whole
from trunkline.train.labels.label_kind import IGNORE

Space = Literal["decoded", "paper"]

NYUv2Task = Literal["segmentation", "depth", "normals"]
TASKS: tuple[NYUv2Task, ...] = get_args(NYUv2Task)
_SHORTEST_NORMAL = 0.5
_FARTHEST_METRES = 100.0


class NYUv2:
    """Indoor photographs with classes, depth and surface normals; tasks are named by their kind.

    Files are matched by name: ``img/0061.png``, ``seg/0061.png`` (class numbers 0..39, 255 = ignore),
    ``normal_mask/0061.png`` (bytes, (255, 255, 255) = ignore), ``depth/0061.npy`` (float metres). Splits come from
    ``train.txt``/``test.txt`` (one name a line) or from AdaShare's ``nyu_v2_3task.json``.

    Normals are decoded by v / 127.5 - 1 and brought to unit length; x points right, y away from the viewer and z
    up (channels in file order). Mirroring negates x. With ``space="paper"`` labels are the raw bytes 0..255
    instead, with (0, 0, 0) for ignored pixels, as the published numbers of several papers were computed; all
    angles between such vectors are too small, and they must not be compared with decoded ones.

    Args:
        path: The folder that holds ``img/``.
        split: ``"train"``, ``"val"``, ``"test"``, the name of any other list, or ``"all"``.
        size: Height and width of every sample. Without augmentation the whole picture is resized to it.
        tasks: Which of segmentation, depth and normals.
        classes: 40, or 13 by the usual mapping.
        space: The values of normal labels, see above.
        missing: What an image without a label file of a task is: an ``error``, or ignored by that task.
        augmentation: Random changes of samples that are read with a seed.

    Raises:
        InvalidConfig: all structural problems of the folder at once.
    """

    def __init__(
        self,
        path: Path | str,
        split: str = "train",
        size: tuple[int, int] = (480, 640),
        tasks: Sequence[str] = TASKS,
        classes: Literal[13, 40] = 40,
        space: Space = "decoded",
        missing: Literal["error", "ignore"] = "error",
        augmentation: Augmentation | None = None,
    ) -> None:
        unknown = [task for task in tasks if task not in TASKS]
        raise_all(
            [Problem(f"NYUv2 has no {quoted(task)} labels", "tasks", did_you_mean(task, TASKS)) for task in unknown]
        )
        self.name = "nyuv2"
        self.size = size
        self.normalisation = NORMALISATION
        self.tasks: Mapping[str, TaskInfo] = {task: _info(task, classes, space) for task in TASKS if task in tasks}
        self._space = space
        self._missing = missing
        self._class_map = _class_map(classes)
        self._augmentation = augmentation or Augmentation()
        self._root = Path(path)
        self._entries = entries(self._root, split)
        check_labels(self)

    @property
    def files(self) -> FileSet:
        """The images, and the labels of the tasks."""
        # A run is bound to the content of its files, so labels of tasks that it does not train stay out.
        used = []
        for entry in self._entries:
            labels = {task: path for task, path in entry.labels.items() if task in self.tasks}
            used.append(Entry(entry.image, labels))
        classes = ClassPictures("segmentation", self._class_map, ("segmentation",))
        return FileSet(self._root, used, tuple(self.tasks), classes)

    def __len__(self) -> int:
        return len(self._entries)

    def problems(self) -> list[Problem]:
        """Return missing label files, unreadable headers and sizes that differ from the image's."""
        found: list[Problem] = []
        for entry in self._entries:
            found += self._entry_problems(entry)
        return found

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        """Return one photograph; see :class:`trunkline.train.data.base.DataSet`."""
        entry = self._entries[index]
        image = read_rgb(entry.image)
        crop = whole(self.size)
        if seed is not None:
            crop = draw_crop(self._augmentation, (image.shape[0], image.shape[1]), self.size, index, seed)
        labels = {}
        for task in self.tasks:
            if task in entry.labels:
                labels[task] = self._label(task, entry, image.shape[:2], crop)
        return Sample(self.normalisation.apply(crop_image(image, crop)), labels)

    def _label(self, task: str, entry: Entry, size: tuple[int, ...], crop: Crop) -> np.ndarray:
        path, kind = entry.labels[task], self.tasks[task].label
        # Cut in the small type of the file, and converted then: a crop is often a fraction of the picture.
        if task == "segmentation":
            return kind.cropped(_classes(path, size, self._class_map), crop).astype(np.int64)
        if task == "depth":
            depth = kind.cropped(_depth(path, size)[None], crop)
            return depth / np.float32(crop.scale) if self._augmentation.scale_depth else depth
        normals = kind.cropped(_normals(path, size), crop)
        if self._space == "decoded":
            return _to_unit(normals)
        # In the paper's space 0 marks an ignored pixel: no valid vector becomes three zero bytes.
        valid = normals.any(0)
        return np.where(valid, (normals + 1) * np.float32(127.5), np.float32(0))

    def _entry_problems(self, entry: Entry) -> list[Problem]:
        found: list[Problem] = []
        files: dict[str, Path | None] = {"image": entry.image}
        files |= {task: entry.labels.get(task) for task in self.tasks}
        # The image comes first, and gives the size that its labels must have.
        size: tuple[int, int] | None = None
        for task, path in files.items():
            if path is None:
                if self._missing == "error":
                    found.append(_no_label(entry, task))
                continue
            try:
                here = array_size(path) if task == "depth" else picture_size(path)
            except InvalidConfig as error:
                found += error.problems
                continue
            if size is None:
                size = here
            elif here != size:
                found.append(wrong_size(path, here, size))
        return found


def _info(task: NYUv2Task, classes: int, space: Space) -> TaskInfo:
    if task == "segmentation":
        names = CLASSES_13 if classes == 13 else CLASSES_40
        return TaskInfo(task, len(names), names)
    if task == "normals":
        return TaskInfo(task, 3, options={"space": space})
    return TaskInfo(task, 1)


def _no_label(entry: Entry, task: str) -> Problem:
    return Problem(
        f"no {task} label for image {entry.image.name}",
        place=str(expected_label(entry, task)),
        advice='add the file, take the image away, or set missing = "ignore"',
    )


def _check_size(path: Path, here: tuple[int, ...], image: tuple[int, ...]) -> None:
    if here != image:
        raise InvalidConfig(wrong_size(path, here, image))


def _class_map(classes: int) -> ClassMap:
    stored = range(len(CLASSES_40))
    names: tuple[str, ...] = CLASSES_40
    numbers: Iterable[int] = stored
    if classes == len(CLASSES_13):
        names, numbers = CLASSES_13, mapping_40_to_13()[: len(CLASSES_40)].tolist()
    return ClassMap(names, {**dict(zip(stored, numbers, strict=True)), IGNORE: IGNORE}, fixed=True)


def _classes(path: Path, size: tuple[int, ...], class_map: ClassMap) -> np.ndarray:
    stored = class_map.stored(path)
    _check_size(path, stored.shape, size)
    return class_map.labels(stored, path)


def _depth(path: Path, size: tuple[int, ...]) -> np.ndarray:
    depth = read_array(path)
    _check_size(path, depth.shape, size)
    allowed = (depth >= 0) & (depth <= _FARTHEST_METRES)
    problem = outside(depth, allowed, path, "metres between 0 (invalid pixel) and 100")
    raise_all([problem] if problem else [])
    return depth


def _normals(path: Path, size: tuple[int, ...]) -> np.ndarray:
    """Return ``[3, H, W]`` decoded, not yet of unit length, (0, 0, 0) where ignored."""
    stored = read_rgb(path)
    _check_size(path, stored.shape[:2], size)
    decoded = stored.astype(np.float32) / np.float32(127.5) - 1
    # White is "no normal" in these files, 22 to 39 % of the pixels in the samples that were looked at.
    decoded[(stored == 255).all(-1)] = 0
    return decoded.transpose(2, 0, 1)


def _to_unit(normals: np.ndarray) -> np.ndarray:
    """Bring vectors to length 1; those shorter than one half are noise of the encoding and become invalid."""
    length = np.linalg.norm(normals, axis=0)
    valid = length >= _SHORTEST_NORMAL
    unit: np.ndarray = np.where(valid, normals / np.maximum(length, _SHORTEST_NORMAL), np.float32(0))
    return unit
