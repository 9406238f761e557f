"""Real files with a few tokens changed are read to a valid Graph, or refused with located problems."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.errors import InvalidModel
from trunkline.graph.verify import verify
from trunkline.ingest.prototxt import parse_prototxt

pytestmark = pytest.mark.abuse

CORPUS = Path(__file__).parents[1] / "corpus" / "prototxt"
FILES = [
    re.findall(r'"[^"\n]*"|\'[^\'\n]*\'|[\w.+-]+|\S', re.sub(r"#.*", "", path.read_text()))
    for path in sorted(CORPUS.glob("*.prototxt"))
]
WORDS = sorted({token for file in FILES for token in file})
NUMBERS = ["0", "1", "-1", "2", "3", "5", "1000000", "1e9", "-0.5", "nan", "true", '""', "[]", "[1, 2]", "{ }"]

_mutation = st.tuples(
    st.integers(0, 10_000),
    st.sampled_from(["replace", "insert", "delete", "repeat"]),
    st.one_of(st.sampled_from(NUMBERS), st.sampled_from(WORDS)),
)


def mutated(tokens: list[str], changes: list[tuple[int, str, str]]) -> str:
    tokens = list(tokens)
    for position, kind, word in changes:
        at = position % len(tokens)
        if kind == "replace":
            tokens[at] = word
        elif kind == "insert":
            tokens.insert(at, word)
        elif kind == "repeat":
            tokens[at:at] = tokens[at : at + 30]
        else:
            del tokens[at]
    return " ".join(tokens)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.lists(_mutation, min_size=1, max_size=3))
def test_mutated_files_never_crash(tokens: list[str], changes: list[tuple[int, str, str]]) -> None:
    try:
        verify(parse_prototxt(mutated(tokens, changes), "net.prototxt"))
    except InvalidModel as error:
        assert all(problem.place.startswith("net.prototxt") for problem in error.problems)
