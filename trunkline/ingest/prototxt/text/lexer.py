"""Protobuf text format → tokens that know their line and column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from trunkline.ingest.prototxt.text.source import Source, Span
from trunkline.limits import Limits, how_to_raise
from trunkline.text import quoted

TokenKind = Literal["word", "string", "mark", "end"]

# The groups never overlap and repeats give nothing back, so scanning is linear in the text.
_TOKEN = re.compile(
    r"""
    (?: [ \t\f\v]++ | \#[^\n]*+ )*+
    (?:
      (?P<newline>\n)
    | (?P<word>[-+]?[\w.](?:[\w.]|(?<=[eE])[-+](?=[0-9]))*)  # the sign within 1e-5 belongs to the number
    | (?P<mark>[{}<>\[\]:,;])
    | (?P<string>"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+" | '[^'\\\n]*+(?:\\[^\n][^'\\\n]*+)*+')
    | (?P<stray>.)
    | \Z
    )
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SIMPLE_ESCAPES = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?", strict=True))


class Token(NamedTuple):
    """One token. ``text`` of a string is its content, quotes and escapes resolved."""

    kind: TokenKind
    text: str
    line: int
    column: int
    width: int

    @property
    def at(self) -> Span:
        """The place of the token."""
        return Span(self.line, self.column, self.width)


def tokens(source: Source, limits: Limits) -> Iterator[Token]:
    """Yield the tokens of a text, ending with one of kind ``end``.

    >>> [token.text for token in tokens(Source("pad: 1  # comment", "net.prototxt"), Limits())]
    ['pad', ':', '1', '']

    Raises:
        InvalidModel: A character that belongs to no token, an open or badly escaped string, or too many tokens.
    """
    text, line, line_start, left = source.text, 1, 0, limits.tokens
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind is None:  # blanks and comments up to the end
            break
        start, end = found.span(kind)
        if kind == "newline":
            line, line_start = line + 1, end
            continue
        column, left = start - line_start + 1, left - 1
        if kind == "stray":
            raise _stray_error(source, text[start], Span(line, column))
        if left < 0:
            message = f"the file holds more than {limits.tokens:,} tokens"
            raise source.fatal_error(message, Span(line, column), how_to_raise("tokens"))
        if kind == "string":
            content = _unescape(source, text[start + 1 : end - 1], Span(line, column, end - start))
            yield Token("string", content, line, column, end - start)
        else:
            yield Token("word" if kind == "word" else "mark", text[start:end], line, column, end - start)
    yield Token("end", "", line, len(text) - line_start + 1, 1)


def _stray_error(source: Source, char: str, at: Span) -> Exception:
    if char in "\"'":  # a closed string would have been a token
        return source.fatal_error("the string that begins here is not closed on its line", at, f"close it with {char}")
    advice = "this looks like a template: fill in its placeholders first" if char in "$%" else ""
    return source.fatal_error(f"unexpected character {quoted(char)}", at, advice)


def _unescape(source: Source, text: str, at: Span) -> str:
    """Resolve escapes byte by byte, because protobuf writes non-ASCII text as octal UTF-8 bytes."""
    if "\\" not in text:
        return text
    try:
        return _ESCAPE.sub(_escaped_bytes, text.encode()).decode()
    except UnicodeDecodeError as error:
        raise source.fatal_error("the escapes in this string do not make UTF-8 text", at) from error
    except KeyError as error:
        raise source.fatal_error(f"unknown escape {quoted(chr(92) + chr(error.args[0]))} in this string", at) from error


def _escaped_bytes(found: re.Match[bytes]) -> bytes:
    octal, hexadecimal, unicode, simple = found.groups()
    if octal or hexadecimal:
        code = int(octal, 8) if octal else int(hexadecimal, 16)
        return bytes([code & 0xFF])  # three octal digits reach 511; protobuf keeps the low byte
    if unicode:  # half of a surrogate pair gives bytes that are no UTF-8, which the caller reports
        return chr(int(unicode, 16)).encode(errors="surrogatepass")
    return bytes([_SIMPLE_ESCAPES[simple[0]]])
