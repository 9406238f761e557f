"""Typed access to the fields of a block, which also finds the fields that no reader knows.

A field that Trunkline does not know might change what the network computes, so leaving one unread is an
error. Each reader asks for the fields it knows; :meth:`Fields.finish` reports the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from trunkline.ingest.prototxt.text.guess import guess
from trunkline.ingest.prototxt.text.harmless import is_harmless
from trunkline.ingest.prototxt.text.report import FileReport
from trunkline.ingest.prototxt.text.source import Span
from trunkline.ingest.prototxt.text.tree import Message, Scalar
from trunkline.limits import how_to_raise
from trunkline.text import quoted

# Repeats are bounded: Python's int() refuses texts of more than 4,300 digits with an error of its own.
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]{1,12}|[0-9]{1,15})", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,4})?[fF]?", re.ASCII)
# The truth values of protobuf's text format.
_FLAGS = {"true": True, "True": True, "t": True, "1": True, "false": False, "False": False, "f": False, "0": False}


class Fields:
    """The fields of one block. A value of the wrong type is reported and replaced by the default.

    >>> from trunkline.ingest.prototxt.text.source import Source
    >>> from trunkline.ingest.prototxt.text.tree import parse
    >>> source = Source("num_output: 8 bias_term: false colour: RED", "net.prototxt")
    >>> report = FileReport(source)
    >>> fields = Fields(parse(source), report, "Convolution", limit=1000)
    >>> fields.integer("num_output", 1), fields.flag("bias_term", True), fields.integer("stride", 1)
    (8, False, 1)
    >>> fields.finish()  # nothing has read "colour"
    >>> report.count
    1
    """

    def __init__(self, message: Message, report: FileReport, owner: str, limit: int) -> None:
        self.at = message.at
        self.owner = owner
        self._report = report
        self._limit = limit
        self._message = message
        self._known: set[str] = set()
        self._blocks: dict[str, list[Fields]] = {}
        self._values: dict[str, list[Scalar | Message]] = {}
        self._tolerated = ""
        for item in message.fields:
            self._values.setdefault(item.name, []).append(item.value)

    def has(self, name: str) -> bool:
        """Whether the file gives this field."""
        self._known.add(name)
        return name in self._values

    def where(self, name: str) -> Span:
        """Return the place of the field's first value, or of the block where the field is absent."""
        values = self._values.get(name)
        return values[0].at if values else self.at

    def integer(self, name: str, default: int, *, minimum: int = 0) -> int:
        """Return a whole number from ``minimum`` to the file's size limit."""
        value = self._single(name)
        return default if value is None else self._integer(name, value, default, minimum)

    def integers(self, name: str, *, minimum: int = 0) -> list[int]:
        """Return all values of a repeated whole-number field."""
        return [self._integer(name, value, minimum, minimum) for value in self._scalars(name)]

    def number(self, name: str, default: float) -> float:
        """Return a finite real number."""
        value = self._single(name)
        return default if value is None else self._number(name, value, default)

    def numbers(self, name: str) -> list[float]:
        """Return all values of a repeated real-number field."""
        return [self._number(name, value, 0.0) for value in self._scalars(name)]

    def flag(self, name: str, default: bool) -> bool:
        """Return a truth value, written as ``true``/``false`` or ``1``/``0``."""
        value = self._single(name)
        if value is None:
            return default
        if value.text not in _FLAGS or value.quoted:
            self._refuse(name, value, "true or false")
        return _FLAGS.get(value.text, default)

    def choice(self, name: str, options: Sequence[str], default: str) -> str:
        """Return one of an enum's words; its number is accepted too, as protobuf does."""
        value = self._single(name)
        if value is None:
            return default
        is_number = value.text.isascii() and value.text.isdigit() and len(value.text) < 4
        if is_number and int(value.text) < len(options):
            return options[int(value.text)]
        if value.text not in options:
            advice = self._report.suggest(value.text, options)
            self._refuse(name, value, f"one of {', '.join(options)}", advice)
            return default
        return value.text

    def string(self, name: str, default: str = "") -> str:
        """Return a string; a bare word is accepted."""
        value = self._single(name)
        return default if value is None else value.text

    def strings(self, name: str) -> list[tuple[str, Span]]:
        """Return all values of a repeated string field with their places."""
        return [(value.text, value.at) for value in self._scalars(name)]

    def names(self, name: str) -> list[tuple[str, Span]]:
        """Return all values of a repeated field that names blobs, with their places; an empty name is an error."""
        found = self.strings(name)
        for text, at in found:
            if not text:
                self._report.error(f"{quoted(name)} of {self.owner} is an empty name", at, "name the blob")
        return found

    def block(self, name: str) -> Fields:
        """Return a nested block; an empty one where it is absent."""
        blocks = self.blocks(name)
        # protobuf's text format, too, takes a field that is not repeated only once.
        if len(blocks) > 1:
            self._report.error(f"{self.owner} gives {quoted(name)} twice", blocks[1].at, "merge the two")
        if blocks:
            return blocks[0]
        return Fields(Message([], self.at), self._report, self._inner(name), self._limit)

    def blocks(self, name: str) -> list[Fields]:
        """Return all nested blocks of this name."""
        self._known.add(name)
        if name not in self._blocks:
            self._blocks[name] = []
            for value in self._values.get(name, ()):
                if isinstance(value, Message):
                    self._blocks[name].append(Fields(value, self._report, self._inner(name), self._limit))
                else:
                    self._report.error(f"{quoted(name)} of {self.owner} must be a block", value.at, f"{name} {{ … }}")
        return self._blocks[name]

    def similar(self, name: str) -> tuple[str, Span] | None:
        """Return a field that has not been read and may be a misspelt ``name``, with its place."""
        # Bounded, because a broken file may hold fields without end, and has to be refused quickly.
        unread = {item.name: item.at for item in self._message.fields[:100] if item.name not in self._known}
        close = next((word for word in unread if len(word) <= 80 and guess(word, [name])), None)
        return None if close is None else (close, unread[close])

    def ignore(self, *names: str) -> None:
        """Accept fields that cannot change what the network computes."""
        self._known.update(names)

    def tolerate(self, reason: str) -> None:
        """Let unknown fields of this block be noted instead of refused, because all they can change is ``reason``."""
        self._tolerated = reason

    def error(self, name: str, message: str, advice: str = "") -> None:
        """Report a fault of the field ``name``, or of the block where the field is absent."""
        self._report.error(message, self.where(name), advice)

    def note(self, text: str) -> None:
        """Add something the user should know about this block, once."""
        self._report.note(text)

    def finish(self) -> None:
        """Report every field that has not been read, here and in the nested blocks."""
        for item in self._message.fields:
            if item.name in self._known or is_harmless(item.name):
                continue
            if self._tolerated:
                self._report.note(
                    f"{quoted(item.name)} in {self.owner} is not known; it can only change {self._tolerated}"
                )
            else:
                otherwise = "it might change the result: remove it if it does not"
                advice = self._report.suggest(item.name, sorted(self._known), otherwise)
                self._report.error(f"unknown field {quoted(item.name)} in {self.owner}", item.at, advice)
        for blocks in self._blocks.values():
            for block in blocks:
                block.finish()

    def _inner(self, name: str) -> str:
        # The name of the innermost block is enough in a deep one, since an error shows its line.
        return f"{quoted(name)} of {self.owner}" if " of " not in self.owner else quoted(name)

    def _scalars(self, name: str) -> list[Scalar]:
        self._known.add(name)
        values = self._values.get(name, ())
        for value in values:
            if isinstance(value, Message):
                self._report.error(f"{quoted(name)} of {self.owner} must be a value, not a block", value.at)
        return [value for value in values if isinstance(value, Scalar)]

    def _single(self, name: str) -> Scalar | None:
        values = self._scalars(name)
        if len(values) > 1:
            self._report.error(f"{self.owner} gives {quoted(name)} twice", values[1].at, "remove one of the two")
        return values[0] if values else None

    def _integer(self, name: str, value: Scalar, default: int, minimum: int) -> int:
        if value.quoted or not _INTEGER.fullmatch(value.text):
            self._refuse(name, value, "a whole number")
            return default
        number = int(value.text, 16 if "x" in value.text.lower() else 10)
        if not minimum <= number <= self._limit:
            advice = how_to_raise("size", number) if number > self._limit else ""
            self._refuse(name, value, f"a whole number from {minimum} to {self._limit:,}", advice)
            return default
        return number

    def _number(self, name: str, value: Scalar, default: float) -> float:
        well_formed = not value.quoted and _NUMBER.fullmatch(value.text)
        number = float(value.text.rstrip("fF")) if well_formed else math.nan  # protobuf reads C's 0.5f
        if not math.isfinite(number):
            self._refuse(name, value, "a finite number")
            return default
        return number

    def _refuse(self, name: str, value: Scalar, expected: str, advice: str = "") -> None:
        message = f"{quoted(name)} of {self.owner} must be {expected}, found {quoted(value.text)}"
        self._report.error(message, value.at, advice)
