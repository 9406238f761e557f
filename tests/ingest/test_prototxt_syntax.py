"""Text → tree: round trips, every spelling of the format, limits, and located errors."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.errors import InvalidModel
from trunkline.ingest.prototxt.text.lexer import tokens
from trunkline.ingest.prototxt.text.source import Source, Span, decode
from trunkline.ingest.prototxt.text.tree import Message, Scalar, TextField, parse
from trunkline.ingest.prototxt.text.write_tree import write
from trunkline.limits import Limits

NOWHERE = Span(0, 0)


def read(text: str, **limits: int) -> Message:
    return parse(Source(text, "net.prototxt"), Limits(**limits))


def plain(message: Message) -> list:
    return [
        (field.name, plain(field.value) if isinstance(field.value, Message) else field.value.text)
        for field in message.fields
    ]


def refuse(text: str, **limits: int) -> str:
    with pytest.raises(InvalidModel) as caught:
        read(text, **limits)
    return str(caught.value)


_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_words = st.one_of(
    st.integers(-(10**9), 10**9).map(str), st.floats(allow_nan=False).map(repr), _names, st.just("1e-05")
)
_scalars = st.one_of(
    _words.map(lambda text: Scalar(text, False, NOWHERE)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda text: Scalar(text, True, NOWHERE)),
)


def _message(values: st.SearchStrategy) -> st.SearchStrategy:
    fields = st.builds(lambda name, value: TextField(name, value, NOWHERE), _names, values)
    return st.lists(fields, max_size=4).map(lambda items: Message(items, NOWHERE))


_messages = _message(st.recursive(_scalars, lambda inner: st.one_of(inner, _message(inner)), max_leaves=12))


@pytest.mark.properties
@given(_messages)
def test_parse_inverts_write(message: Message) -> None:
    assert read(write(message)) == message


@pytest.mark.properties
@given(_messages)
def test_line_ends_do_not_matter(message: Message) -> None:
    text = write(message)
    assert read(text.replace("\n", "\r\n")) == message == read(text.replace("\n", "\r"))


@pytest.mark.properties
@given(_messages)
def test_tokens_know_their_place(message: Message) -> None:
    """The text at a token's line and column is the token."""
    source = Source(write(message), "x")
    lines = source.text.split("\n")
    for token in tokens(source, Limits()):
        if token.kind in ("word", "mark"):
            assert lines[token.line - 1][token.column - 1 :].startswith(token.text)


@pytest.mark.abuse
@given(st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_read_or_located(text: str) -> None:
    try:
        read(text)
    except InvalidModel as error:
        assert error.problems[0].place.startswith("net.prototxt:")


@pytest.mark.golden
def test_every_spelling() -> None:
    text = """
        # a comment { that opens nothing
        a: 1, b: 'it''s' ; c { d: [1, 2,3] e: [] } c: < f: "x\\"y\\n\\344\\270\\255" 'z' >
        g: [{ h: true }, { h: -1.5e+3 }] i:FOO
    """
    assert plain(read(text)) == [
        ("a", "1"),
        ("b", "its"),
        ("c", [("d", "1"), ("d", "2"), ("d", "3")]),
        ("c", [("f", 'x"y\n中z')]),
        ("g", [("h", "true")]),
        ("g", [("h", "-1.5e+3")]),
        ("i", "FOO"),
    ]


@pytest.mark.golden
def test_places_count_from_one() -> None:
    message = read("name: 'n'\n\tlayer {\n  top: 12345\n}")
    layer = message.fields[1]
    assert (layer.at.line, layer.at.column) == (2, 2)
    assert isinstance(layer.value, Message)
    top = layer.value.fields[0].value
    assert top.at == Span(3, 8, 5)


@pytest.mark.golden
def test_byte_order_mark_is_ignored() -> None:
    assert plain(parse(decode(b"\xef\xbb\xbfa: 1", "x"))) == [("a", "1")]


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb {\n c: 2", "2:3", "ends before this block is closed"),
        ("a: 1 }", "1:6", "closes nothing"),
        ("a { b: 1 >", "1:10", 'where "}" closes the block opened at line 1, column 3'),
        ("a: [1, 2", "1:4", "ends before"),
        ("a 5", "1:3", 'expected ":" or "{" after "a", found "5"'),
        ("a:", "1:3", "expected a value"),
        ("a: :", "1:4", "expected a value"),
        ("a: [[1]]", "1:5", "expected a value"),
        ("1a: 5", "1:1", "expected a field name"),
        ('"a": 5', "1:1", "expected a field name"),
        ("a: 'open\nb: 1", "1:4", "not closed"),
        ("a: 'bad \\q'", "1:4", "escape"),
        ("a: '\\377'", "1:4", "UTF-8"),
        ("dim: ${SIZE}", "1:6", "template"),
        ("a: @", "1:4", "unexpected character"),
    ],
)
def test_syntax_errors_have_a_place(text: str, place: str, words: str) -> None:
    message = refuse(text)
    assert message.startswith(f"net.prototxt:{place}: ")
    assert words in message


@pytest.mark.golden
@pytest.mark.parametrize(
    ("encoding", "comment"), [("gbk", "卷积层"), ("shift-jis", "畳み込み"), ("latin-1", "été"), ("utf-8", "卷积层")]
)
def test_comments_in_any_encoding(encoding: str, comment: str) -> None:
    text = f"a: 1 # {comment} \" '\nb: '#5' # {comment}\r\nc: \"it's #6\" # {comment}"
    assert plain(parse(decode(text.encode(encoding), "x"))) == [("a", "1"), ("b", "#5"), ("c", "it's #6")]


@pytest.mark.abuse
def test_values_must_be_utf_8() -> None:
    """Only comments may be in another encoding; a value is refused at its line."""
    with pytest.raises(InvalidModel, match="not UTF-8") as caught:
        decode("# 卷积\na: '卷'".encode("gbk"), "net.prototxt")
    assert caught.value.problems[0].place == "net.prototxt:2"


@pytest.mark.abuse
def test_error_has_line_and_caret() -> None:
    assert refuse("a: 1\nlayer { pad 12 }") == (
        'net.prototxt:2:13: expected ":" or "{" after "pad", found "12"\n'
        "     2 | layer { pad 12 }\n"
        "       |             ^^"
    )


@pytest.mark.abuse
def test_excerpts_of_long_lines_are_cut() -> None:
    """A generated file may be one line of megabytes; the error shows the part around its fault."""
    message = refuse("a: 1 " * 10_000 + "b @ " + "c: 1 " * 10_000)
    _, excerpt, caret = message.split("\n")
    assert len(excerpt) < 120
    assert excerpt[caret.index("^")] == "@"


@pytest.mark.abuse
def test_control_characters_are_replaced() -> None:
    assert "\x1b" not in refuse("a: '\x1b[31m' \x1b")


@pytest.mark.abuse
@pytest.mark.parametrize("opener", ["a{", "a<", "a:{", "a:[{"])
def test_depth_is_limited_without_recursion(opener: str) -> None:
    assert "nested deeper than 100 levels" in refuse(opener * 100_000)


@pytest.mark.abuse
def test_allowed_depth_is_read() -> None:
    assert plain(read("a{" * 100 + "}" * 100)) != []


@pytest.mark.abuse
def test_tokens_are_limited() -> None:
    assert "more than 10 tokens" in refuse("a: 1 " * 10, tokens=10)


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a: 1\0", "binary file"), (b"a: 1\nb: \xff", "not UTF-8"), ("a: 1".encode("utf-16"), "binary file")],
)
def test_binary_files_are_named_as_such(content: bytes, words: str) -> None:
    with pytest.raises(InvalidModel, match=words):
        decode(content, "net.prototxt")
