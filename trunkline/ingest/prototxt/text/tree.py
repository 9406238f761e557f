"""Tokens → a tree of located fields, with no schema: what a field means is decided later.

The reader takes what protobuf's text format allows and what real files hold: an optional colon before a
block, ``{}`` or ``<>`` around it, repeated keys, ``[a, b]`` lists (which are repeated keys written short),
adjacent strings, and commas or semicolons between fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from trunkline.ingest.prototxt.text.lexer import Token, tokens
from trunkline.ingest.prototxt.text.source import Source, Span
from trunkline.limits import DEFAULT_LIMITS, Limits, how_to_raise
from trunkline.text import quoted

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_CLOSERS = {"{": "}", "<": ">"}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number, word or string as written; its type is known to the field's reader alone."""

    text: str
    quoted: bool
    at: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """A block of fields in the order written; ``at`` is its name, or the file's start for the root."""

    fields: list[TextField]
    at: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class TextField:
    """One name with one value; a list or a repeated key makes several Fields."""

    name: str
    value: Scalar | Message
    at: Span = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Open:
    """A block or list that is not closed yet. In a list, ``element`` is the field its items belong to."""

    message: Message
    closer: str
    opener: Span
    element: Token | None = None


def parse(source: Source, limits: Limits = DEFAULT_LIMITS) -> Message:
    """Read a text as protobuf text format.

    Works with an explicit stack, in time linear in the text.

    >>> root = parse(Source('layer { name: "conv1" pad: [1, 2] }', "net.prototxt"))
    >>> layer = root.fields[0]
    >>> layer.name, layer.at
    ('layer', Span(line=1, column=1, width=5))
    >>> [(field.name, field.value.text) for field in layer.value.fields]
    [('name', 'conv1'), ('pad', '1'), ('pad', '2')]

    Raises:
        InvalidModel: The text is not in the format, or asks for more than ``limits`` how_to_raise.
    """
    return _Parser(source, limits).run()


class _Parser:
    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.tokens: Iterator[Token] = tokens(source, limits)
        self.token = next(self.tokens)
        self.root = Message([], Span(1, 1))
        self.stack = [_Open(self.root, "", self.root.at)]

    def run(self) -> Message:
        while self.token.kind != "end":
            token, frame = self.token, self.stack[-1]
            # protobuf allows one separator after a field; several, or one that is lost, do no harm.
            if token.text in (",", ";") and token.kind == "mark":
                self.advance()
            elif token.kind == "mark" and token.text in "}>]":
                self.close(token, frame)
            elif frame.element is not None:
                self.value(frame.element, frame.message)
            else:
                self.field(token, frame.message)
        if len(self.stack) > 1:
            frame = self.stack[-1]
            raise self.source.fatal_error(
                "the file ends before this block is closed", frame.opener, f'add "{frame.closer}"'
            )
        return self.root

    def advance(self) -> Token:
        token, self.token = self.token, next(self.tokens, self.token)
        return token

    def close(self, token: Token, frame: _Open) -> None:
        if not frame.closer:
            raise self.source.fatal_error(f'this "{token.text}" closes nothing', token.at)
        if token.text != frame.closer:
            opened = f"the block opened at line {frame.opener.line}, column {frame.opener.column}"
            raise self.source.fatal_error(f'found "{token.text}" where "{frame.closer}" closes {opened}', token.at)
        self.stack.pop()
        self.advance()

    def field(self, name: Token, message: Message) -> None:
        """Read a name, and the value or the opening of the block or list after it."""
        if name.kind != "word" or not _NAME.fullmatch(name.text):
            raise self.source.fatal_error(f"expected a field name, found {quoted(name.text)}", name.at)
        self.advance()
        colon = self.token.kind == "mark" and self.token.text == ":"
        if colon:
            self.advance()
        elif not (self.token.kind == "mark" and self.token.text in _CLOSERS):  # only a block may lack the colon
            raise self.source.fatal_error(
                f'expected ":" or "{{" after {quoted(name.text)}, found {_shown(self.token)}', self.token.at
            )
        # A list is a repeated field written short: each of its items becomes a Field of this name.
        if self.token.kind == "mark" and self.token.text == "[":
            self.push(_Open(message, "]", self.token.at, name))
        else:
            self.value(name, message)

    def value(self, name: Token, message: Message) -> None:
        token = self.token
        if token.kind == "mark" and token.text in _CLOSERS:
            block = Message([], name.at)
            message.fields.append(TextField(name.text, block, name.at))
            self.push(_Open(block, _CLOSERS[token.text], token.at))
        elif token.kind in ("word", "string"):
            message.fields.append(TextField(name.text, self.scalar(), name.at))
        else:
            raise self.source.fatal_error(f"expected a value for {quoted(name.text)}, found {_shown(token)}", token.at)

    def scalar(self) -> Scalar:
        first = self.advance()
        parts = [first.text]
        # As in C, strings that follow each other are one.
        while first.kind == "string" and self.token.kind == "string":
            parts.append(self.advance().text)
        return Scalar("".join(parts), first.kind == "string", first.at)

    def push(self, frame: _Open) -> None:
        if len(self.stack) > self.limits.depth:
            message = f"blocks are nested deeper than {self.limits.depth} levels"
            raise self.source.fatal_error(message, frame.opener, how_to_raise("depth"))
        self.stack.append(frame)
        self.advance()


def _shown(token: Token) -> str:
    return "the end of the file" if token.kind == "end" else quoted(token.text)
