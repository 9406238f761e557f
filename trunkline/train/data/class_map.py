"""The classes that the pixels of a label picture stand for: from stored numbers or colours to class numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.text import quoted
from trunkline.train.data.files import has_colours, outside, read_colours, read_numbers
from trunkline.train.labels.label_kind import IGNORE

IGNORED = "ignore"
"""The name for values that are ignored, unless a class has this name."""
GREATEST_STORED = 65_535
"""The greatest number that a 16-bit picture can hold."""

_HEX = re.compile(r"#([0-9a-fA-F]{6})")
_NUMBER = re.compile(r"[0-9]{1,5}")
_TRIPLE = re.compile(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*")
_LISTED = 8


@dataclass(frozen=True)
class ClassMap:
    """The class of every value that a label picture may hold; make one with :func:`class_map`.

    Attributes:
        classes: Class names in label order.
        meaning: Stored value → class number, or 255 for ignored values. A colour is the number 0xRRGGBB.
        colours: Whether values are colours.
        given: Whether the pipeline file maps values to classes; otherwise number k is class k.
        fixed: Whether a published data set defines the numbers, so that a pipeline file cannot map others.
    """

    classes: tuple[str, ...]
    meaning: Mapping[int, int]
    colours: bool = False
    given: bool = False
    fixed: bool = False

    def stored(self, path: Path) -> np.ndarray:
        """Return a label picture's values, int32 ``[H, W]``.

        Raises:
            InvalidConfig: It cannot be read, or it is coloured and no colour is mapped to a class.
        """
        if self.colours:
            return read_colours(path)
        if not has_colours(path):
            return read_numbers(path)
        found, advice = "several channels, expected one channel of class numbers", ""
        if not self.fixed:
            example = self.example(np.unique(read_colours(path)), colours=True)
            advice = f"if its colours stand for classes, write {example}"
        raise InvalidConfig(found, place=str(path), advice=advice)

    def labels(self, stored: np.ndarray, path: Path) -> np.ndarray:
        """Return stored values as class numbers, uint8 ``[H, W]``, 255 = ignore.

        Raises:
            InvalidConfig: A value has no meaning; the first such pixel is named.
        """
        numbers = self._numbers(stored)
        problem = outside(stored, numbers >= 0, path, self._expected(), self._shown)
        if problem is not None and self.fixed:
            raise InvalidConfig(problem)
        if problem is not None:
            advice = f"say what it means: {self.example(np.unique(stored))}, or add it to `ignore`"
            raise InvalidConfig(Problem(problem.message, problem.place, advice))
        return numbers.astype(np.uint8)

    def _numbers(self, stored: np.ndarray) -> np.ndarray:
        """Return the class number of every pixel, -1 where there is none."""
        found: np.ndarray
        if not self.colours:
            table = np.full(GREATEST_STORED + 1, -1, np.int16)
            table[list(self.meaning)] = list(self.meaning.values())
            found = table[stored]
            return found
        # By binary search: a table of all 2^24 colours would be 32 MiB.
        known = np.array(sorted(self.meaning), np.int32)
        numbers = np.array([self.meaning[int(value)] for value in known], np.int16)
        places = np.searchsorted(known, stored).clip(max=len(known) - 1)
        found = np.where(known[places] == stored, numbers[places], np.int16(-1))
        return found

    def example(self, stored: Iterable[int], *, colours: bool | None = None) -> str:
        """Return a line for the pipeline file that maps these values; class names are filled in if they fit."""
        as_colours = self.colours if colours is None else colours
        values = [int(value) for value in stored]
        # Names are put to values in order, where it fits: a mask of 0 and 255 with two classes most likely means them.
        if len(values) > len(self.classes):
            values = [value for value in values if self.meaning.get(value) != IGNORE]
        names = self.classes if len(values) == len(self.classes) else ("…",) * len(values)
        pairs = [f'{_key(value, as_colours)} = "{name}"' for value, name in zip(values, names, strict=True)]
        listed = pairs if len(pairs) <= _LISTED else [*pairs[:_LISTED], "…"]
        return f"values = {{ {', '.join(listed)} }} under [data]"

    def _expected(self) -> str:
        if not self.given:
            greatest = max(value for value, label in self.meaning.items() if label != IGNORE)
            ignored = "255 for ignore" if self.fixed else "an ignored value"
            return f"a class 0..{greatest}, or {ignored}"
        return f"one of those in `values`: {', '.join(self._shown(value) for value in sorted(self.meaning))}"

    def _shown(self, value: int) -> str:
        return f"#{value:06x}" if self.colours else str(value)


def class_map(classes: Sequence[str], values: Mapping[str, str] | None = None, ignore: Sequence[int] = ()) -> ClassMap:
    """Return the classes that values of label pictures stand for.

    Args:
        classes: Class names in label order.
        values: Stored number, ``#RRGGBB`` or ``R,G,B`` → class name, or ``ignore``. Without it number k is class k.
        ignore: Numbers that are ignored. 255 is one of them unless ``values`` maps it to a class.

    Raises:
        InvalidConfig: Everything that is wrong, at once.

    >>> masks = class_map(["background", "road"], {"0": "background", "255": "road"})
    >>> masks.labels(np.array([[0, 255]]), Path("mask.png"))
    array([[0, 1]], dtype=uint8)
    """
    given = {} if values is None else values
    parsed = {key: _parsed(key) for key in given}
    read = {key: value for key, value in parsed.items() if value is not None}
    problems = [*_class_problems(classes, ignore), *_value_problems(given, parsed, classes)]
    problems += _ignore_problems(ignore, given, read)
    if problems:
        raise InvalidConfig(problems)
    meaning = {number: number for number in range(len(classes))}
    if given:
        meaning = {value.number: _class_number(given[key], classes) for key, value in read.items()}
    colours = any(value.is_colour for value in read.values())
    if not colours:
        meaning |= dict.fromkeys(ignore, IGNORE)
        meaning.setdefault(IGNORE, IGNORE)
    if all(number == IGNORE for number in meaning.values()):
        raise InvalidConfig("no value means a class", place="values" if given else "ignore")
    return ClassMap(tuple(classes), meaning, colours, given=bool(given))


@dataclass(frozen=True, slots=True)
class _Value:
    """A key of ``values``: a stored number, or a colour as 0xRRGGBB."""

    number: int
    is_colour: bool


def _parsed(key: str) -> _Value | None:
    """Return the value that a key names; None if it is neither a number nor a colour."""
    if found := _HEX.fullmatch(key.strip()):
        return _Value(int(found[1], 16), True)
    if found := _TRIPLE.fullmatch(key):
        red, green, blue = (int(part) for part in found.groups())
        if max(red, green, blue) > 255:
            return None
        return _Value((red << 16) | (green << 8) | blue, True)
    if _NUMBER.fullmatch(key.strip()) and int(key) <= GREATEST_STORED:
        return _Value(int(key), False)
    return None


def _class_problems(classes: Sequence[str], ignore: Sequence[int]) -> list[Problem]:
    found = []
    if not 2 <= len(classes) <= IGNORE:  # labels are bytes, and 255 is taken
        found.append(Problem(f"{len(classes)} class names, expected 2 to {IGNORE}", "classes"))
    twice = sorted(name for name, count in Counter(classes).items() if count > 1)
    found += [Problem(f"{quoted(name)} is there twice", "classes") for name in twice]
    impossible = [value for value in ignore if not 0 <= value <= GREATEST_STORED]
    return found + [Problem(f"{value}, expected a value 0..{GREATEST_STORED}", "ignore") for value in impossible]


def _value_problems(
    given: Mapping[str, str], parsed: Mapping[str, _Value | None], classes: Sequence[str]
) -> list[Problem]:
    known = [*classes, IGNORED]
    found = [
        Problem(f"{quoted(key)} is no value of a pixel", "values", f"expected 0..{GREATEST_STORED}, #RRGGBB or R,G,B")
        for key, value in parsed.items()
        if value is None
    ]
    for key, name in given.items():
        if name not in known:
            advice = did_you_mean(name, known) or f"known: {', '.join(known)}"
            found.append(Problem(f"{quoted(key)} means {quoted(name)}", "values", advice))
    values = [value for value in parsed.values() if value is not None]
    if len({value.is_colour for value in values}) > 1:
        found.append(Problem("numbers and colours are mixed", "values", "write all of one kind"))
    if len(set(values)) < len(values):
        found.append(Problem("one value is written in two ways", "values", "write each once"))
    return found


def _ignore_problems(ignore: Sequence[int], given: Mapping[str, str], read: Mapping[str, _Value]) -> list[Problem]:
    if ignore and any(value.is_colour for value in read.values()):
        advice = f'write such colours into `values`, as "{IGNORED}"'
        return [Problem("numbers are ignored, but `values` holds colours", "ignore", advice)]
    class_of = {value.number: given[key] for key, value in read.items()}
    both = [value for value in ignore if class_of.get(value, IGNORED) != IGNORED]
    advice = "take it out of one of the two"
    return [Problem(f"{value} is also in `values`, as {quoted(class_of[value])}", "ignore", advice) for value in both]


def _class_number(name: str, classes: Sequence[str]) -> int:
    return classes.index(name) if name in classes else IGNORE


def _key(value: int, as_colour: bool) -> str:
    return f'"#{value:06x}"' if as_colour else str(value)
