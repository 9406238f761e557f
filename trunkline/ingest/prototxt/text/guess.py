"""Which name a misspelt one was meant to be, offered only where both mean the same.

Forks of Caffe differ from it by a word or a letter: ``pad_l`` is no misspelt ``pad_w``, ``AutoCrop`` no ``Crop``,
``AVE_TF`` no ``AVE``. Whoever follows such a guess gets a net that runs and computes something else. So a guess
mends capitals, separators and slips within one word. It never adds, drops or exchanges a word, a number, or a
letter that is a word by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SEPARATOR = re.compile(r"(?<![0-9])[^A-Za-z0-9]+|[^A-Za-z0-9]+(?![0-9])")
_LONG = 5
"""Letters from which on one wrong, missing or extra letter leaves no doubt about a word of a format."""


def guess(word: str, known: Iterable[str], *, shortest: int = _LONG) -> str:
    """Return ``did you mean "…"?`` for the one known name that ``word`` misspells, or an empty string.

    Args:
        word: The name in the file.
        known: The names it may mean.
        shortest: Letters that a word needs for a slip of one letter to be mended.

    >>> guess("num_ouput", ["num_output", "pad"])
    'did you mean "num_output"?'
    >>> guess("pad_l", ["pad", "pad_h", "pad_w"])
    ''
    """
    names = dict.fromkeys(known)
    wanted, words = _plain(word), _words(word)
    found = [name for name in names if _plain(name) == wanted]
    found = found or [name for name in names if _is_slip(words, _words(name), shortest)]
    return f'did you mean "{found[0]}"?' if len(found) == 1 else ""  # of several, any may be meant


def _plain(name: str) -> str:
    """Return a name without capitals and separators; what separates two numbers stays."""
    return _SEPARATOR.sub("", name).casefold()


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(name)]


def _is_slip(words: list[str], others: list[str], shortest: int) -> bool:
    """Whether all words are the same but one, in which a finger slipped."""
    if len(words) != len(others):
        return False
    differing = [(word, other) for word, other in zip(words, others, strict=True) if word != other]
    return len(differing) == 1 and _slipped(*differing[0], shortest)


def _slipped(word: str, other: str, shortest: int) -> bool:
    """Whether ``word`` is ``other`` with one slip of the finger, in a word long enough to tell."""
    if word.isdigit() or other.isdigit():  # conv2 is no misspelt conv3
        return False
    if _is_swapped(word, other) or _is_doubled(word, other) or _is_doubled(other, word):
        return True
    return min(len(word), len(other)) >= shortest and _is_one_letter_off(word, other)


def _is_swapped(word: str, other: str) -> bool:
    """Whether two neighbouring letters changed places."""
    if len(word) != len(other) or len(word) < 3:
        return False
    places = [place for place, (a, b) in enumerate(zip(word, other, strict=True)) if a != b]
    if len(places) != 2 or places[1] != places[0] + 1:
        return False
    first, second = places
    return word[first] == other[second] and word[second] == other[first]


def _is_doubled(word: str, other: str) -> bool:
    """Whether ``word`` has one letter of ``other`` twice."""
    if len(word) != len(other) + 1 or len(other) < 3:
        return False
    place = _common_start(word, other)
    return place > 0 and word[place] == word[place - 1] and word[place + 1 :] == other[place:]


def _is_one_letter_off(word: str, other: str) -> bool:
    """Whether one letter of ``word`` is wrong, missing or too much."""
    if abs(len(word) - len(other)) > 1:
        return False
    start = _common_start(word, other)
    rest, other_rest = word[start:], other[start:]
    is_extra, is_wrong = rest[1:] == other_rest, rest[1:] == other_rest[1:]
    is_missing = rest == other_rest[1:]
    return is_extra or is_wrong or is_missing


def _common_start(word: str, other: str) -> int:
    """Return how many letters the beginnings of two words have in common."""
    pairs = zip(word, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(word), len(other)))
