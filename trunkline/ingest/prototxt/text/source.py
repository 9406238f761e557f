"""A text and the places in it, so that every error can show the user's own line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trunkline.errors import InvalidModel, Problem
from trunkline.text import printable

# A string (kept) or a comment; in GBK and other encodings, bytes of one character may look like quotes.
_COMMENT = re.compile(rb"""("[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+')|\#[^\n\r]*+""")

_EXCERPT = 100
"""Characters of a line that an error shows; generated files may hold one line of megabytes."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one line; ``line`` and ``column`` count from 1."""

    line: int
    column: int
    width: int = 1


class Source:
    """The text of a file, with unified line ends, under the label its errors carry."""

    def __init__(self, text: str, label: str) -> None:
        self.text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        self.label = label
        self._lines: list[str] | None = None

    def problem(self, message: str, at: Span, advice: str = "") -> Problem:
        """Return the located problem, with the line it is about."""
        line = self._line(at.line)
        start = 0
        if len(line) > _EXCERPT:
            start = max(0, at.column - 1 - _EXCERPT // 2)  # the fault is in the middle of what is shown
        # Every character stays one wide, so that the caret below points at the right one.
        excerpt = printable(line[start : start + _EXCERPT].replace("\t", " "), "?")
        column = at.column - start
        width = max(1, min(at.width, len(excerpt) - column + 1))
        place = f"{self.label}:{at.line}:{at.column}"
        return Problem(message, place, advice, excerpt, column if excerpt else 0, width, at.line)

    def fatal_error(self, message: str, at: Span, advice: str = "") -> InvalidModel:
        """Return the error for a fault after which reading cannot go on."""
        return InvalidModel(self.problem(message, at, advice))

    def _line(self, number: int) -> str:
        if self._lines is None:
            self._lines = self.text.split("\n")
        return self._lines[number - 1] if number <= len(self._lines) else ""


def decode(content: bytes, label: str) -> Source:
    """Return the text of a prototxt.

    Raises:
        InvalidModel: The content is binary, or not UTF-8.
    """
    if b"\0" in content:  # no text has one, while a caffemodel's lengths and floats nearly always do
        raise InvalidModel(
            f"this is a binary file, not a text: there is a NUL byte at offset {content.index(0)}",
            place=label,
            advice="give the .prototxt; a .caffemodel holds only weights",
        )
    try:
        return Source(_without_odd_comments(content).decode("utf-8"), label)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidModel(
            f"this is not UTF-8 text: byte 0x{content[error.start]:02x} at offset {error.start}",
            place=f"{label}:{line}",
            advice="save the file as UTF-8; if it is binary, give the .prototxt instead",
        ) from error


def _without_odd_comments(content: bytes) -> bytes:
    """Blank out comments in another encoding than UTF-8, which many files have."""
    try:
        content.decode("utf-8")
        return content
    except UnicodeDecodeError:  # blanks keep every column where it was
        return _COMMENT.sub(lambda found: found.group(1) or b"#" + b" " * (len(found.group()) - 1), content)
