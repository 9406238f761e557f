"""Open the data sets of a ``[data]`` table; the kinds are those found in :mod:`trunkline.train.data.sets`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from trunkline.errors import InvalidConfig, did_you_mean, problems_of
from trunkline.scan import classes_of, modules_in
from trunkline.text import quoted
from trunkline.train.data import sets
from trunkline.train.data.base import DataSets
from trunkline.train.data.config import DataSetConfig


def data_set_kinds() -> Mapping[str, type[DataSetConfig]]:
    """Return the kinds of data set by name, sorted.

    >>> list(data_set_kinds())
    ['folder', 'nyuv2', 'scenes']
    """
    return _kinds_in(tuple(sets.__path__))


@cache  # by path: a test, or a plug-in, may add a folder to the package
def _kinds_in(_path: tuple[str, ...]) -> Mapping[str, type[DataSetConfig]]:
    kinds: dict[str, type[DataSetConfig]] = {}
    for module in modules_in(sets):
        tables = [found for found in classes_of(module) if issubclass(found, DataSetConfig)]
        if len(tables) != 1:
            raise ValueError(f"{module.__name__} defines {len(tables)} data sets' tables, expected one")
        name = tables[0].kind_name()
        if name in kinds:
            raise ValueError(f"{module.__name__}: {quoted(name)} is a kind of {kinds[name].__module__} already")
        kinds[name] = tables[0]
    return dict(sorted(kinds.items()))


def open_data(config: Mapping[str, Any] | DataSetConfig) -> DataSets:
    """Open the splits that train, choose and report.

    Args:
        config: ``kind`` and that kind's options, checked or as TOML gives them.

    Raises:
        InvalidConfig: an unknown kind or key, a wrong value, or a faulty folder.

    >>> data = open_data({"kind": "scenes", "length": 3, "size": [16, 24], "tasks": ["depth", "edges"]})
    >>> len(data.train), list(data.train.tasks)
    (3, ['depth', 'edges'])
    """
    return (read_data_config(config) if isinstance(config, Mapping) else config).open()


def read_data_config(config: Mapping[str, Any], place: str = "data") -> DataSetConfig:
    """Check a plain mapping, as TOML gives it.

    Args:
        config: The table's content.
        place: The table's name, for messages.

    Raises:
        InvalidConfig: all unknown keys and wrong values at once.
    """
    kind, known = config.get("kind"), data_set_kinds()
    if not isinstance(kind, str) or kind not in known:
        advice = did_you_mean(str(kind), known) or f"known kinds: {', '.join(known)}"
        found = "no kind of data set is given" if kind is None else f"unknown kind of data set {quoted(str(kind))}"
        raise InvalidConfig(found, place=f"{place}.kind", advice=advice)
    try:
        # Through JSON, whose strict mode takes a list for a tuple but neither true nor "3" for a number.
        return known[kind].model_validate_json(json.dumps(dict(config), default=str), strict=True)
    except ValidationError as error:
        raise InvalidConfig(problems_of(error, known[kind], table=place)) from error
