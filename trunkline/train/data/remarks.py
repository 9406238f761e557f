"""What is odd about the data of a run, said before any work begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from trunkline.errors import InvalidConfig
from trunkline.train.data.base import IGNORE
from trunkline.train.data.inventory import Inventory

_LISTED = 12
_WORDS = {"train": "training", "val": "choosing", "test": "reporting"}


def check_classes(inventory: Inventory) -> None:
    """Refuse training labels of one class only: there is nothing to learn from them.

    Most often a mask holds 0 and 255, and 255 is ignored where nothing says what it means.

    Raises:
        InvalidConfig: What the labels hold, and what the pipeline file could say about it.
    """
    files = inventory.parts["train"]
    values = inventory.values("train")
    counts = _by_class(values, files.class_map.meaning)
    present = [name for number, name in enumerate(files.class_map.classes) if counts[number]]
    if not values or len(present) > 1:
        return
    found = "no pixel of a training label counts"
    if present:
        found = f'the training labels hold one class only, "{present[0]}"'
    advice = f"say what the values mean: {files.class_map.example(sorted(values))}"
    raise InvalidConfig(found + _ignored(values, files.class_map.meaning), place=str(files.root), advice=advice)


def remarks(inventory: Inventory, *, classes: bool) -> list[str]:
    """Return, in words, images that lie in several parts and, if ``classes`` are learnt, those without a pixel."""
    missing = _missing_classes(inventory) if classes and inventory.parts else []
    return [*missing, *_common_images(inventory)]


def _missing_classes(inventory: Inventory) -> list[str]:
    class_map = inventory.parts["train"].class_map
    trained = inventory.values("train")
    every = sum((inventory.values(part) for part in inventory.parts), Counter[int]())
    if not every:
        return []
    found = []
    in_training, anywhere = (_by_class(values, class_map.meaning) for values in (trained, every))
    nowhere = [name for number, name in enumerate(class_map.classes) if not anywhere[number]]
    unlearnt = [name for number, name in enumerate(class_map.classes) if anywhere[number] and not in_training[number]]
    if nowhere:
        found.append(f"no pixel in any label file: {_listing(nowhere)}{_ignored(every, class_map.meaning)}")
    if unlearnt:
        found.append(f"no pixel in any training label, but in others: {_listing(unlearnt)}")
    return found


def _common_images(inventory: Inventory) -> list[str]:
    images = {part: inventory.images(part) for part in inventory.parts}
    found = []
    for one, other in combinations(images, 2):
        known = set(images[one])
        common = [image for image in images[other] if image in known]
        if common:
            whole = f"{len(common)} of {len(images[other])} images for {_WORDS[other]}"
            found.append(f"{whole} are also images for {_WORDS[one]}")
    return found


def _by_class(values: Mapping[int, int], meaning: Mapping[int, int]) -> Counter[int]:
    counts = Counter[int]()
    for value, count in values.items():
        counts[meaning[value]] += count
    return counts


def _ignored(values: Mapping[int, int], meaning: Mapping[int, int]) -> str:
    """Return, as the rest of a sentence, which values are ignored and how much of the labels that is."""
    total = sum(values.values())
    ignored = [value for value, count in values.items() if meaning[value] == IGNORE and count]
    if not ignored:
        return ""
    share = 100 * sum(values[value] for value in ignored) / total
    return f"; {_listing([str(value) for value in sorted(ignored)])}, {share:.1f} % of all pixels, is ignored"


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
