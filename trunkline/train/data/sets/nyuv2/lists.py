"""The files of an NYUv2 folder, and the lists that assign them to splits."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.text import quoted
from trunkline.train.data.check import raise_all
from trunkline.train.data.file_set import Entry
from trunkline.train.data.files import IMAGE_SUFFIXES, files_by_stem

ALL = "all"
JSON_LIST = "nyu_v2_3task.json"
_FOLDERS = {"segmentation": "seg", "normals": "normal_mask", "depth": "depth"}
_SUFFIXES = {"segmentation": (".png",), "normals": (".png",), "depth": (".npy",)}
_ENTRY_ORDER = ("segmentation", "normals", "depth")
_SPLITS = ("train", "val", "test")


def listed_splits(folder: Path) -> list[str]:
    """Return which of "train", "val" and "test" have a list.

    Raises:
        InvalidConfig: AdaShare's list cannot be read.
    """
    found = {name for name in _SPLITS if (folder / f"{name}.txt").is_file()}
    if (folder / JSON_LIST).is_file():
        found |= set(_json_lists(folder / JSON_LIST))
    return [name for name in _SPLITS if name in found]


def list_of(folder: Path, split: str) -> str:
    """Return the name of the list of a split, for messages."""
    own = f"{split}.txt"
    return own if (folder / own).is_file() else f"{JSON_LIST}, {quoted(split)}"


def entries(folder: Path, split: str) -> list[Entry]:
    """Return the samples of a split, in the list's order, or all of them sorted by name.

    Raises:
        InvalidConfig: no such folder, no images, no such list, or a list that names what is not there.
    """
    if not (folder / "img").is_dir():
        raise InvalidConfig(
            "there is no folder img/", place=str(folder), advice="expected img/, seg/, normal_mask/ and depth/ in it"
        )
    if split == ALL:
        return _all(folder)
    if (folder / f"{split}.txt").is_file():
        return _from_text(folder, folder / f"{split}.txt")
    if (folder / JSON_LIST).is_file():
        return _from_json(folder, split)
    raise InvalidConfig(
        f"no list says which samples belong to split {quoted(split)}",
        place=str(folder),
        advice=f'add {split}.txt with one name a line, or {JSON_LIST}, or use split "{ALL}"',
    )


def _all(folder: Path) -> list[Entry]:
    images = files_by_stem(folder / "img", IMAGE_SUFFIXES)
    if not images:
        raise InvalidConfig("the folder holds no .png or .jpg image", place=str(folder / "img"))
    labels = _labels(folder)
    return [_entry(path, stem, labels) for stem, path in images.items()]


def _labels(folder: Path) -> dict[str, dict[str, Path]]:
    return {task: files_by_stem(folder / name, _SUFFIXES[task]) for task, name in _FOLDERS.items()}


def _entry(image: Path, stem: str, labels: dict[str, dict[str, Path]]) -> Entry:
    return Entry(image, {task: paths[stem] for task, paths in labels.items() if stem in paths})


def expected_label(entry: Entry, task: str) -> Path:
    """Return where a sample's missing label file should be."""
    return entry.image.parent.parent / _FOLDERS[task] / (entry.image.stem + _SUFFIXES[task][0])


def _from_text(folder: Path, list_file: Path) -> list[Entry]:
    images, labels = files_by_stem(folder / "img", IMAGE_SUFFIXES), _labels(folder)
    found: list[Entry] = []
    problems: list[Problem] = []
    for number, line in enumerate(_text(list_file).splitlines(), 1):
        stem = _stem(line.strip(), images)
        if not stem:
            continue
        if stem in images:
            found.append(_entry(images[stem], stem, labels))
        else:
            place = f"{list_file}:{number}"
            problems.append(Problem(f"img/ holds no image named {quoted(stem)}", place, did_you_mean(stem, images)))
    raise_all(problems)
    if not found:
        raise InvalidConfig("the list is empty", place=str(list_file), advice="expected one name a line")
    return found


def _stem(line: str, images: Collection[str]) -> str:
    """Return what an image and its labels have in common, of a line that may also name a file, with its folder."""
    name = Path(line).name
    # A name may have a dot of its own, which begins no suffix.
    return name if name in images else Path(line).stem


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"the list cannot be read: {error}", place=str(path)) from error


def _from_json(folder: Path, split: str) -> list[Entry]:
    """Read AdaShare's list: per split, rows of (image, classes, normals, depth) as relative paths."""
    list_file = folder / JSON_LIST
    lists = _json_lists(list_file)
    if split not in lists:
        known = ", ".join(lists) or "none"
        raise InvalidConfig(f"no split {quoted(split)}", place=str(list_file), advice=f"splits in it: {known}")
    rows = lists[split]
    if not isinstance(rows, list) or not rows:
        raise InvalidConfig(f"split {quoted(split)} is not a list of samples", place=str(list_file))
    problems: list[Problem] = []
    found = [_row(folder, f"{list_file}: {split}[{number}]", row, problems) for number, row in enumerate(rows)]
    raise_all(problems)
    return [entry for entry in found if entry is not None]


def _json_lists(list_file: Path) -> dict[str, Any]:
    try:
        lists = json.loads(_text(list_file))
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"this is not JSON: {error}", place=str(list_file)) from error
    return lists if isinstance(lists, dict) else {}


def _row(folder: Path, place: str, row: object, problems: list[Problem]) -> Entry | None:
    if not isinstance(row, list) or len(row) != 4 or not all(isinstance(name, str) for name in row):
        problems.append(Problem("expected four paths: image, classes, normals, depth", place))
        return None
    # A list is somebody else's file: a path in it could lead anywhere, also through a link.
    root = folder.resolve()
    paths = [folder / name for name in row]
    strays = [name for name, path in zip(row, paths, strict=True) if not path.resolve().is_relative_to(root)]
    problems += [Problem(f"{quoted(name)} lies outside the data folder", place) for name in strays]
    if not paths[0].is_file():
        problems.append(Problem(f"there is no file {quoted(row[0])}", place))
    if strays or not paths[0].is_file():
        return None
    labels = {task: path for task, path in zip(_ENTRY_ORDER, paths[1:], strict=True) if path.is_file()}
    return Entry(paths[0], labels)
