"""Text from anywhere: safe, short, and unique."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.graph.unique_names import UniqueNames
from trunkline.text import escaped, printable, quoted, shape_text, shortened, with_thousands

pytestmark = pytest.mark.properties


@given(text=st.text(max_size=200))
def test_no_terminal_obeys_what_is_shown(text: str) -> None:
    for shown in (printable(text), printable(text, "?"), escaped(text), quoted(text)):
        assert shown.isprintable()
    assert printable(text, "?").replace("?", "") == "".join(c for c in text if c.isprintable() and c != "?")


@given(text=st.text(max_size=200), longest=st.integers(1, 100))
def test_what_is_short_stays(text: str, longest: int) -> None:
    assert len(shortened(text, longest)) <= longest
    assert shortened(text, len(text)) == text


QUOTED = [
    ("conv1", '"conv1"'),
    ('a"b', '"a\\"b"'),
    ("a\\b", '"a\\\\b"'),
    ("\x1b[31m", '"\\x1b[31m"'),
    ("\u202e", '"\\u202e"'),
]


@pytest.mark.parametrize(("name", "shown"), QUOTED)
def test_a_quoted_name_has_one_reading(name: str, shown: str) -> None:
    assert quoted(name) == shown


def test_shapes_and_counts_as_text() -> None:
    assert shape_text((None, 3, 8, 8)) == "[N, 3, 8, 8]"
    assert shape_text(()) == "[]"
    assert shape_text(None) == "unknown"
    assert shape_text([1, 2, 3], 2) == "[1, 2, …]"
    assert with_thousands(1234567) == "1,234,567"


@given(wanted=st.lists(st.sampled_from(["a", "a_2", "a_3", "b"])), taken=st.sets(st.sampled_from(["a", "a_2", "b_2"])))
def test_names_are_the_first_that_are_free(wanted: list[str], taken: set[str]) -> None:
    """Names are unique and the first that are free."""
    names, used = UniqueNames(taken), set(taken)
    for name in wanted:
        candidates = [name, *(f"{name}_{count}" for count in range(2, 100))]
        expected = next(candidate for candidate in candidates if candidate not in used)
        assert names.free(name) == names.take(name) == expected
        used.add(expected)


def test_many_equal_names_stay_cheap() -> None:
    """Many nodes of one name take no square of steps."""
    names = UniqueNames()
    assert [names.take("relu") for _ in range(100_000)][-1] == "relu_100000"
