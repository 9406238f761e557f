"""The [data] table: all mistakes are named at once, with advice."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from trunkline.errors import InvalidConfig, Problem
from trunkline.train.data.open import open_data, read_data_config
from trunkline.train.data.sets.scenes import ScenesConfig
from trunkline.train.data.splits import Subset

pytestmark = pytest.mark.abuse


def problems(config: dict[str, Any]) -> dict[str, Problem]:
    with pytest.raises(InvalidConfig) as error:
        open_data(config)
    return {problem.place: problem for problem in error.value.problems}


def test_scenes_with_defaults() -> None:
    config = read_data_config({"kind": "scenes"})
    assert isinstance(config, ScenesConfig)
    data = open_data(config)
    assert (len(data.train), len(data.val), len(data.test)) == (1000, 200, 200)
    assert len(open_data({"kind": "scenes", "length": 2, "val_length": 3, "test_length": 4}).test) == 4
    first = [part.sample(0).image for part in data.parts.values()]
    assert not any(np.array_equal(a, b) for a, b in combinations(first, 2))
    assert data.train.size == (64, 96)
    assert data.train.normalisation.mean == (0.485, 0.456, 0.406)


def test_toml_lists_become_tuples() -> None:
    data = open_data({"kind": "scenes", "size": [16, 24], "tasks": ["depth", "edges"], "length": 3, "val_length": 2})
    assert data.train.sample(0).labels["edges"].shape == (1, 16, 24)
    assert list(data.val.tasks) == ["depth", "edges"]
    assert not isinstance(data.train, Subset)


@pytest.mark.parametrize(
    ("config", "place", "words"),
    [
        ({}, "data.kind", "known kinds: folder, nyuv2, scenes"),
        ({"kind": "scene"}, "data.kind", 'did you mean "scenes"?'),
        ({"kind": 3}, "data.kind", "known kinds"),
        ({"kind": "scenes", "lenght": 3}, "data.lenght", 'did you mean "length"?'),
        ({"kind": "scenes", "path": "x"}, "data.path", "known keys"),
        ({"kind": "scenes", "size": [4, 96]}, "data.size.0", "greater than or equal to 8"),
        ({"kind": "scenes", "tasks": []}, "data.tasks", "at least 1 item"),
        ({"kind": "scenes", "tasks": ["depht"]}, "data.tasks.0", "'depth'"),
        ({"kind": "nyuv2"}, "data.path", "needed"),
        ({"kind": "nyuv2", "path": "x", "augmentation": {"miror": 1}}, "data.augmentation.miror", '"mirror"'),
        ({"kind": "nyuv2", "path": "/nowhere/at/all"}, "/nowhere/at/all", "expected img/"),
        ({"kind": "folder", "path": "/nowhere/at/all", "classes": ["a", "b"]}, "/nowhere/at/all", "splits there: none"),
    ],
)
def test_bad_tables_are_located(config: dict[str, Any], place: str, words: str) -> None:
    """Unknown kinds, keys and values, each at its place."""
    found = problems(config)
    assert words in str(found[place])


def test_all_mistakes_are_told_at_once() -> None:
    """Not one a try."""
    found = problems({"kind": "folder", "clases": ["a"], "size": [1, 2], "ignore": [70_000]})
    assert {"data.clases", "data.classes", "data.path", "data.size.0", "data.size.1", "data.ignore.0"} == set(found)
