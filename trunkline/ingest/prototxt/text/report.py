"""Collects everything wrong with a file, so that one run of Trunkline reports all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from trunkline.errors import InvalidModel, Problem, UnsupportedOp
from trunkline.ingest.prototxt.text.forks import meaning_of
from trunkline.ingest.prototxt.text.guess import guess
from trunkline.ingest.prototxt.text.source import Source, Span

_SHOWN = 100
"""Problems listed one by one; a file with more has one cause, not a hundred."""

_SUGGESTED, _CANDIDATES, _LONGEST = 20, 500, 80
"""Problems that get a suggestion, words searched for it, and their letters: a broken file must be refused quickly."""


class FileReport:
    """Problems and notes about one file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.count = 0
        self.notes: list[str] = []
        self._problems: list[Problem] = []
        self._seen: set[tuple[str, Span]] = set()
        self._supported: Sequence[str] = ()
        self._readable: Sequence[str] = ()

    def error(self, message: str, at: Span, advice: str = "") -> None:
        """Add a problem at a place in the file; the same problem a second time adds nothing."""
        if (message, at) in self._seen:
            return
        self._seen.add((message, at))
        self.count += 1  # also of problems that are not listed: the last line of the error gives their number
        if len(self._problems) < _SHOWN:
            self._problems.append(self.source.problem(message, at, advice))

    def add_unsupported(self, message: str, at: Span, advice: str, supported: Sequence[str]) -> None:
        """Add a layer that Trunkline cannot handle; the report will end with what it can."""
        self._supported = supported
        self.error(message, at, advice)

    def readable(self, features: Sequence[str]) -> None:
        """Record which features can be read although the whole network cannot."""
        self._readable = features

    def suggest(self, word: str, known: Iterable[str], otherwise: str = "") -> str:
        """Return what a fork means by ``word``, or the name that it misspells, while there are few problems."""
        if len(self._problems) >= _SUGGESTED or len(word) > _LONGEST:
            return otherwise
        return meaning_of(word) or guess(word, islice(known, _CANDIDATES)) or otherwise

    def suggest_blob(self, name: str, known: Iterable[str]) -> str:
        """Return the blob that ``name`` misspells, while there are few problems; blobs have short names."""
        if len(self._problems) >= _SUGGESTED or len(name) > _LONGEST:
            return ""
        return guess(name, islice(known, _CANDIDATES), shortest=3)

    def note(self, text: str) -> None:
        """Add something the user should know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def place(self, at: Span) -> str:
        """Return ``path:line`` as nodes carry it."""
        return f"{self.source.label}:{at.line}"

    def raise_if_any(self) -> None:
        """Raise all problems as one error, in the order of the file.

        Raises:
            UnsupportedOp: Among them is a layer type that Trunkline cannot handle.
            InvalidModel: The file is wrong in other ways only.
        """
        if not self._problems:
            return
        problems = sorted(self._problems, key=lambda problem: problem.line)
        if self.count > _SHOWN:
            problems.append(Problem(f"and {self.count - _SHOWN} more problems", self.source.label))
        if self._readable:
            advice = f"--features {','.join(self._readable)}"
            problems.append(Problem("the part before these layers can be read", self.source.label, advice))
        if self._supported:
            problems.append(Problem(f"supported layer types: {', '.join(self._supported)}", self.source.label))
            raise UnsupportedOp(problems)
        raise InvalidModel(problems)
