"""The files that a data set is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trunkline.train.data.class_map import ClassMap


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample's files; ``labels`` has no entry for a task whose label is missing."""

    image: Path
    labels: Mapping[str, Path]

    @property
    def paths(self) -> tuple[Path, ...]:
        """All its files, the image first."""
        return (self.image, *self.labels.values())


@dataclass(frozen=True, slots=True)
class ClassPictures:
    """Labels that are pictures of classes.

    Attributes:
        task: The task whose label files they are.
        class_map: The classes that their pixels stand for.
        learners: The tasks that need pictures of more than one class to learn from.
    """

    task: str
    class_map: ClassMap
    learners: tuple[str, ...]

    def path_in(self, entry: Entry) -> Path | None:
        """Return the picture of a sample, if it has one."""
        return entry.labels.get(self.task)


@dataclass(frozen=True, slots=True)
class FileSet:
    """All files of a data set.

    Attributes:
        root: The folder that they are in.
        entries: The files of each sample, in the order of the samples.
        tasks: The tasks that entries have labels for, though not every entry for every task.
        classes: Its labels that are pictures of classes, if any are.
        unused: Files in the same folders that belong to no sample.
    """

    root: Path
    entries: Sequence[Entry]
    tasks: tuple[str, ...]
    classes: ClassPictures | None = None
    unused: Sequence[Path] = ()

    def name(self, path: Path) -> str:
        """Return a file's path within the folder, which stays the same where the folder is moved."""
        return path.relative_to(self.root).as_posix()

    def part(self, indices: Sequence[int]) -> FileSet:
        """Return the files of some samples."""
        return replace(self, entries=[self.entries[index] for index in indices])
