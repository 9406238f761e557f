"""[search] and [data] hold what their method and kind say, and nothing near it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from trunkline.errors import InvalidConfig
from trunkline.pipeline.config import parse_config
from trunkline.pipeline.kind_tables import SearchConfig

pytestmark = pytest.mark.abuse


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"search": 3}, "search: expected a table"),
        ({"data": ["scenes"]}, "data: expected a table"),
        ({"search": {"method": "random", "draw": "3"}}, "search.draw: '3': input should be a valid integer"),
        ({"search": {"method": "random", "draw": True}}, "search.draw: True: input should be a valid integer"),
        ({"data": {"kind": "scenes", "length": "3"}}, "data.length: '3': input should be a valid integer"),
        ({"data": {"kind": "scenes", "length": True}}, "data.length: True: input should be a valid integer"),
        ({"data": {"length": 3}}, "data.kind: no kind of data set is given"),
        ({"search": {"method": 3}}, 'search.method: there is no method "3"'),
        ({"search": {"method": "random", "steps": 3}}, "search.steps: unknown key"),
    ],
)
def test_wrong_tables_are_refused_by_place(content: dict[str, Any], message: str) -> None:
    """And once, with all that is wrong beside it."""
    with pytest.raises(InvalidConfig) as caught:
        parse_config({**content, "train": {"steps": 0}}, "pipeline.toml")
    first, second = caught.value.problems
    assert f"{first.place}: {first.message}" == f"pipeline.toml: {message}"
    assert second.place == "pipeline.toml: train.steps"


def test_an_unknown_method_hides_no_other_problem() -> None:
    """Its keys are not called unknown, for nobody knows which it has."""
    with pytest.raises(InvalidConfig) as caught:
        parse_config({"search": {"method": "automtll", "steps": 3}, "data": {"kind": "scene"}})
    assert [problem.place for problem in caught.value.problems] == ["data.kind", "search.method"]
    assert 'did you mean "automtl"?' in str(caught.value)


def test_options_are_made_in_python_too() -> None:
    assert SearchConfig.of("random", draw=3).options.model_dump()["draw"] == 3
    with pytest.raises(ValidationError):
        SearchConfig.of("random", drew=3)


def test_inner_tables_keep_own_defaults() -> None:
    """Inner tables keep defaults of their own method.

    Of another method's the same key has other numbers.
    """
    search = {"method": "bmtas", "weight_optimiser": {"lr": 0.5}}
    optimiser = parse_config({"search": search}).search.options.weight_optimiser  # type: ignore[attr-defined]
    assert (optimiser.kind, optimiser.lr, optimiser.momentum, optimiser.weight_decay) == ("sgd", 0.5, 0.9, 1e-4)
