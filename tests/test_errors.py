"""Findings of pydantic as located problems: one wording for plans, tables, pipelines and data sets."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trunkline.errors import Problem, problems_of

pytestmark = pytest.mark.golden


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Scenes(Closed):
    kind: Literal["scenes"] = "scenes"
    size: int = 1


class Pictures(Closed):
    kind: Literal["pictures"] = "pictures"
    path: str


class Row(Closed):
    ms: float

    @model_validator(mode="after")
    def _check(self) -> Row:
        if self.ms < 0:
            raise ValueError("a time cannot be negative")
        return self


class Content(Closed):
    data: Annotated[Scenes | Pictures, Field(discriminator="kind")] = Scenes()
    rows: dict[str, Row] = {}
    seed: int | None = None
    names: list[str] = []


CASES = [
    ({"sede": 1}, Problem("unknown key", "f: sede", 'did you mean "seed"?')),
    ({"xyz": 1}, Problem("unknown key", "f: xyz", "known keys: data, rows, seed, names")),
    ({"data": {"kind": "scenes", "sise": 1}}, Problem("unknown key", "f: data.sise", 'did you mean "size"?')),
    ({"data": {"kind": "pictures"}}, Problem("this key is needed", "f: data.path")),
    (
        {"data": {"kind": "scenes", "size": "x"}},
        Problem("'x': input should be a valid integer, unable to parse string as an integer", "f: data.size"),
    ),
    ({"rows": {"a": {"ms": 1, "msx": 2}}}, Problem("unknown key", "f: rows.a.msx", 'did you mean "ms"?')),
    ({"rows": {"a": {"ms": -1}}}, Problem("a time cannot be negative", "f: rows.a")),
    ({"": 1}, Problem("unknown key", 'f: ""', "known keys: data, rows, seed, names")),
    ({"names": ["a", 2]}, Problem("2: input should be a valid string", "f: names.1")),
]


@pytest.mark.parametrize(("content", "expected"), CASES)
def test_a_finding_is_located(content: dict[str, object], expected: Problem) -> None:
    with pytest.raises(ValidationError) as caught:
        Content.model_validate(content)
    assert problems_of(caught.value, Content, "f") == [expected]


def test_a_table_within_a_file_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        Scenes.model_validate({"sise": 1, "size": None})
    assert [problem.place for problem in problems_of(caught.value, Scenes, "f", "data")] == [
        "f: data.size",
        "f: data.sise",
    ]
    assert [problem.place for problem in problems_of(caught.value, Scenes)] == ["size", "sise"]


def test_a_torn_file_is_not_repeated_whole() -> None:
    with pytest.raises(ValidationError) as caught:
        Content.model_validate_json("{" + 10_000 * " ")
    (problem,) = problems_of(caught.value, Content, "f")
    assert problem.place == "f" and len(problem.message) < 100


def test_errors_do_not_import_pydantic() -> None:
    code = "import sys, trunkline.errors; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
