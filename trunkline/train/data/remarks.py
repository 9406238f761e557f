"""Labels that a task cannot learn from, and oddities of the data, reported before any work begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from trunkline.errors import InvalidConfig, Problem
from trunkline.text import quoted
from trunkline.train.data.class_map import ClassMap
from trunkline.train.data.file_set import FileSet
from trunkline.train.data.inventory import Inventory
from trunkline.train.labels.label_kind import IGNORE

_LISTED = 12
_PURPOSES = {"train": "training", "val": "choosing", "test": "reporting"}


def check_labels_suffice(inventory: Inventory, tasks: Collection[str]) -> None:
    """Refuse training labels that a task cannot learn from: there are none, or they hold one class only.

    Most often a mask holds 0 and 255, and 255 is ignored because the pipeline file does not map it to a class.

    Raises:
        InvalidConfig: The values in the labels, with a line for the pipeline file that maps them.
    """
    if not inventory.parts:
        return
    files = inventory.parts["train"]
    unlabelled = _without_labels(files, tasks)
    if unlabelled:
        raise InvalidConfig(
            [Problem(f"no image for training has a {task} label", str(files.root)) for task in unlabelled]
        )
    if files.classes and set(files.classes.learners) & set(tasks):
        _check_classes(files.root, files.classes.class_map, inventory.values("train"))


def remarks(inventory: Inventory, tasks: Collection[str]) -> list[str]:
    """Return sentences on classes without a pixel, tasks without a label, images in several splits, unused files."""
    found = _missing_classes(inventory, tasks) if inventory.parts else []
    for split, files in inventory.parts.items():
        found += [f"no image for {_PURPOSES[split]} has a {task} label" for task in _without_labels(files, tasks)]
    return [*found, *_common_images(inventory), *_unused_files(inventory)]


def _without_labels(files: FileSet, tasks: Collection[str]) -> list[str]:
    there: set[str] = set()
    for entry in files.entries:
        there |= set(entry.labels)
    return [task for task in files.tasks if task in tasks and task not in there]


def _check_classes(root: Path, class_map: ClassMap, values: Mapping[int, int]) -> None:
    counts = _by_class(values, class_map.meaning)
    present = [name for number, name in enumerate(class_map.classes) if counts[number]]
    if len(present) > 1:
        return
    found = "no pixel of a training label counts"
    if present:
        found = f"the training labels hold one class only, {quoted(present[0])}"
    advice = "" if class_map.fixed else f"say what the values mean: {class_map.example(sorted(values))}"
    raise InvalidConfig(found + _ignored(values, class_map.meaning), place=str(root), advice=advice)


def _missing_classes(inventory: Inventory, tasks: Collection[str]) -> list[str]:
    classes = inventory.parts["train"].classes
    if classes is None or not set(classes.learners) & set(tasks):
        return []
    class_map = classes.class_map
    trained = inventory.values("train")
    every = sum((inventory.values(split) for split in inventory.parts), Counter[int]())
    if not every:
        return []
    found = []
    in_training, anywhere = _by_class(trained, class_map.meaning), _by_class(every, class_map.meaning)
    nowhere, untrained = [], []
    for number, name in enumerate(class_map.classes):
        if not anywhere[number]:
            nowhere.append(name)
        elif not in_training[number]:
            untrained.append(name)
    if nowhere:
        found.append(f"no pixel in any label file: {_listing(nowhere)}{_ignored(every, class_map.meaning)}")
    if untrained:
        found.append(f"no pixel in any training label, but in others: {_listing(untrained)}")
    return found


def _common_images(inventory: Inventory) -> list[str]:
    # By content: the same photograph often has another name in each split.
    images = {split: inventory.images(split) for split in inventory.parts}
    found = []
    for one, other in combinations(images, 2):
        known = set(images[one])
        common = [image for image in images[other] if image in known]
        if common:
            whole = f"{len(common)} of {len(images[other])} images for {_PURPOSES[other]}"
            found.append(f"{whole} are also images for {_PURPOSES[one]}")
    return found


def _unused_files(inventory: Inventory) -> list[str]:
    # Splits that were cut out of one folder all have the same files beside them.
    unused: set[str] = set()
    for files in inventory.parts.values():
        unused |= {files.name(path) for path in files.unused}
    by_folder: dict[str, list[str]] = {}
    for name in sorted(unused):
        folder, _, file = name.rpartition("/")
        by_folder.setdefault(folder, []).append(file)
    return [f"not used, {len(files)} in {folder}: {_listing(files)}" for folder, files in by_folder.items()]


def _by_class(values: Mapping[int, int], meaning: Mapping[int, int]) -> Counter[int]:
    counts = Counter[int]()
    for value, count in values.items():
        counts[meaning[value]] += count
    return counts


def _ignored(values: Mapping[int, int], meaning: Mapping[int, int]) -> str:
    """Return the end of a sentence: which values are ignored, and what share of all pixels has them."""
    total = sum(values.values())
    ignored = [value for value, count in values.items() if meaning[value] == IGNORE and count]
    if not ignored:
        return ""
    share = 100 * sum(values[value] for value in ignored) / total
    return f"; {_listing([str(value) for value in sorted(ignored)])}, {share:.1f} % of all pixels, is ignored"


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
