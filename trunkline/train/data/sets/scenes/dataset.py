"""The generated rooms as a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.text import quoted
from trunkline.train.data.base import NORMALISATION, Sample, TaskInfo, random_generator
from trunkline.train.data.sets.nyuv2.classes import CLASSES_13
from trunkline.train.data.sets.scenes.render import Scene, render
from trunkline.train.labels.label_kind import LabelKind

_STREAMS = {"train": 0, "val": 1, "test": 2}
_MIRRORED_STREAM = 17
_SMALLEST = 8
_GAIN = 0.15

SceneTask = Literal["segmentation", "depth", "normals", "edges", "keypoints"]
TASKS: tuple[SceneTask, ...] = get_args(SceneTask)
INFO: dict[SceneTask, TaskInfo] = {
    "segmentation": TaskInfo("segmentation", len(CLASSES_13), CLASSES_13),
    "depth": TaskInfo("depth", 1),
    "normals": TaskInfo("normals", 3),
    "edges": TaskInfo("edges", 1),
    "keypoints": TaskInfo("keypoints", 1),
}


class Scenes:
    """Furnished rooms, drawn and labelled exactly; tasks are named by their kind.

    Scene i is a pure function of (seed, split, i), sampled at ``size``; the splits draw from separate random
    streams, so they share no room. Normals are in the camera's frame: x right, y up, z towards the viewer.
    Augmentation mirrors half of the pictures (negating the normals' x) and varies each colour channel's gain by
    up to 15 %.

    Args:
        size: Height and width in pixels.
        length: Number of scenes.
        seed: Any number from 0 on.
        tasks: Kinds of task to make labels for.
        split: ``"train"``, ``"val"`` or ``"test"``.
        cache: Keep rendered scenes in memory, about 25 bytes a pixel (150 MB for 1,000 scenes of 64 x 96).
        supersample: k x k rays average to one pixel of the picture; costs k² times the shading.

    Raises:
        InvalidConfig: an unknown kind or split, or an impossible size, length or seed.

    >>> scenes = Scenes(size=(16, 24), length=1, tasks=["segmentation", "normals"])
    >>> {task: label.shape for task, label in scenes.sample(0).labels.items()}
    {'segmentation': (16, 24), 'normals': (3, 16, 24)}
    """

    def __init__(
        self,
        size: tuple[int, int] = (64, 96),
        length: int = 1000,
        seed: int = 0,
        tasks: Sequence[str] = ("segmentation", "depth", "normals"),
        split: Literal["train", "val", "test"] = "train",
        cache: bool = False,
        supersample: int = 1,
    ) -> None:
        _check(size, length, seed, tasks, split, supersample)
        self.name = "scenes"
        self.size = size
        self.normalisation = NORMALISATION
        self.tasks: Mapping[str, TaskInfo] = {task: INFO[task] for task in TASKS if task in tasks}
        self._length = length
        self._seed = seed
        self._stream = _STREAMS[split]
        self._cache: dict[int, Scene] | None = {} if cache else None
        self._supersample = supersample

    @property
    def files(self) -> None:
        """None: scenes are drawn, not read."""
        return None

    def __len__(self) -> int:
        return self._length

    def scene(self, index: int) -> Scene:
        """Return the picture and the compact labels of scene ``index``; raises ``IndexError``."""
        if not 0 <= index < self._length:
            raise IndexError(f"scene {index} of {self._length}")
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        made = render(self._seed, self._stream, index, self.size, tuple(self.tasks), self._supersample)
        if self._cache is not None:
            self._cache[index] = made
        return made

    def sample(self, index: int, *, seed: int | None = None) -> Sample:
        """Return scene ``index``; see :class:`trunkline.train.data.base.DataSet`."""
        scene = self.scene(index)
        image, mirrored = scene.image, False
        if seed is not None:
            rng = random_generator(seed, _MIRRORED_STREAM, index)
            mirrored = bool(rng.random() < 0.5)
            gain = 1 + _GAIN * (2 * rng.random(3) - 1)
            image = np.clip(image * gain + 0.5, 0, 255).astype(np.uint8)
        if mirrored:
            image = image[:, ::-1]
        labels = {task: _finish(info.label, scene.labels[task], mirrored) for task, info in self.tasks.items()}
        return Sample(self.normalisation.apply(image), labels)


def _finish(kind: LabelKind, compact: np.ndarray, mirrored: bool) -> np.ndarray:
    """Bring a compact label, ``[H, W]`` or ``[H, W, 3]``, into the form of its kind."""
    planes = compact.transpose(2, 0, 1) if compact.ndim == 3 else compact
    size = (compact.shape[0], compact.shape[1])
    label = np.ascontiguousarray(planes.reshape(kind.shape(size)), kind.dtype)
    return kind.mirrored(label) if mirrored else label


def _check(size: tuple[int, int], length: int, seed: int, tasks: Sequence[str], split: str, supersample: int) -> None:
    problems = []
    for task in tasks:
        if task not in TASKS:
            advice = did_you_mean(task, TASKS) or f"known: {', '.join(TASKS)}"
            problems.append(Problem(f"unknown kind of task {quoted(task)}", "tasks", advice))
    if not tasks:
        problems.append(Problem("no tasks", "tasks", f"choose from {', '.join(TASKS)}"))
    if split not in _STREAMS:
        problems.append(Problem(f"unknown split {quoted(split)}", "split", f"known: {', '.join(_STREAMS)}"))
    if min(size) < _SMALLEST:
        problems.append(Problem(f"{size[0]} x {size[1]} pixels, expected at least 8 x 8", "size"))
    for name, value, least in (("length", length, 1), ("seed", seed, 0), ("supersample", supersample, 1)):
        if value < least:
            problems.append(Problem(f"{value}, expected at least {least}", name))
    if problems:
        raise InvalidConfig(problems)
