"""The content of a data set's files: a SHA-256 of each, and the values that label pictures hold.

A run goes on only with the data that it began with. Folders may be moved and files copied, so the content is
compared, all of it: a corrected label may well have as many bytes as before. Every file is read once; later its size,
times and inode show whether it must be read again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.errors import InvalidConfig, Problem
from trunkline.train.data.check import raise_all
from trunkline.train.data.class_map import ClassMap
from trunkline.train.data.file_set import FileSet

_THREADS = 4


@dataclass(frozen=True, slots=True)
class Facts:
    """The content of one file.

    Attributes:
        sha256: SHA-256 of all its bytes.
        stamp: Size, times and inode: as long as these are the same, so is the content.
        values: For a label picture of classes, how many pixels have each stored value; otherwise None.
    """

    sha256: str
    stamp: str
    values: Mapping[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON content."""
        return {"sha256": self.sha256, "stamp": self.stamp, "values": self.values}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Facts:
        """Return what :meth:`to_json` wrote."""
        values = content["values"]
        counted = None if values is None else {int(value): int(count) for value, count in values.items()}
        return cls(str(content["sha256"]), str(content["stamp"]), counted)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The content of all files of a run's data.

    Attributes:
        parts: The files by split, such as ``train``.
        facts: The content of each file, by its name.
    """

    parts: Mapping[str, FileSet]
    facts: Mapping[str, Facts]

    def digests(self) -> dict[str, str]:
        """Return a SHA-256 by split, over names and contents in the order of the samples."""
        return {split: _digest(files, self.facts) for split, files in self.parts.items()}

    def values(self, split: str) -> Counter[int]:
        """Return how many pixels of a split's class labels have each stored value; empty without class labels."""
        files, total = self.parts[split], Counter[int]()
        if files.classes is None:
            return total
        for entry in files.entries:
            path = files.classes.path_in(entry)
            if path is not None:
                total.update(self.facts[files.name(path)].values or {})
        return total

    def images(self, split: str) -> list[str]:
        """Return the SHA-256 of each image of a split."""
        files = self.parts[split]
        return [self.facts[files.name(entry.image)].sha256 for entry in files.entries]


def take_inventory(splits: Mapping[str, FileSet], known: Mapping[str, Facts]) -> Inventory:
    """Read every file that has not been read before.

    Args:
        splits: The files by split.
        known: Facts of files that were read before, by name.

    Raises:
        InvalidConfig: Files cannot be read, or labels hold values without a meaning; all of them at once.
    """
    problems: list[Problem] = []
    facts: dict[str, Facts] = {}
    # Threads: reading, hashing and decoding all let other threads run meanwhile.
    pool = ThreadPoolExecutor(_THREADS)
    try:
        work: dict[str, Future[Facts]] = {}
        for name, (path, classes) in _wanted(splits).items():
            work[name] = pool.submit(_facts, path, classes, known.get(name))
        for name, future in work.items():
            try:
                facts[name] = future.result()
            except InvalidConfig as error:
                problems += error.problems
    finally:
        # After Ctrl-C a pool would otherwise read all files that are left before it ends.
        pool.shutdown(cancel_futures=True)
    raise_all(problems)
    return Inventory(dict(splits), facts)


def _wanted(splits: Mapping[str, FileSet]) -> dict[str, tuple[Path, ClassMap | None]]:
    """Return the path of every file by its name, with the classes that its pixels stand for where it has such."""
    wanted: dict[str, tuple[Path, ClassMap | None]] = {}
    for files in splits.values():
        for entry in files.entries:
            wanted |= {files.name(path): (path, None) for path in entry.paths}
            picture = files.classes.path_in(entry) if files.classes else None
            if files.classes and picture:
                wanted[files.name(picture)] = (picture, files.classes.class_map)
    return wanted


def _facts(path: Path, classes: ClassMap | None, known: Facts | None) -> Facts:
    try:
        stamp = _stamp(path)
        if known is not None and known.stamp == stamp and _has_known_values(known, classes):
            return known
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidConfig(f"the file cannot be read: {error.strerror}", place=str(path)) from error
    if classes is None:
        return Facts(digest, stamp)
    stored = classes.stored(path)
    classes.labels(stored, path)
    values, counts = np.unique(stored, return_counts=True)
    return Facts(digest, stamp, dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _has_known_values(known: Facts, classes: ClassMap | None) -> bool:
    # The file is the same, but `values` in the pipeline file may have changed since.
    return classes is None or (known.values is not None and set(known.values) <= set(classes.meaning))


def _stamp(path: Path) -> str:
    # ctime too: copying and unpacking set a file's mtime back, but no program sets its ctime.
    found = path.stat()
    return f"{found.st_size}/{found.st_mtime_ns}/{found.st_ctime_ns}/{found.st_ino}"


def _digest(files: FileSet, facts: Mapping[str, Facts]) -> str:
    digest = hashlib.sha256()
    for entry in files.entries:
        for name in map(files.name, entry.paths):
            digest.update(f"{name} {facts[name].sha256}\n".encode())
    return digest.hexdigest()
