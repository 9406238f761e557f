"""From a ``[data]`` table to opened data sets, of the kinds that lie in :mod:`trunkline.train.data.sets`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.scan import classes_of, modules_in
from trunkline.train.data import sets
from trunkline.train.data.base import DataSets
from trunkline.train.data.config import DataSetConfig


def data_set_kinds() -> Mapping[str, type[DataSetConfig]]:
    """Return the kinds of data set by name, sorted."""
    return _kinds_in(tuple(sets.__path__))


@cache
def _kinds_in(_path: tuple[str, ...]) -> Mapping[str, type[DataSetConfig]]:
    kinds: dict[str, type[DataSetConfig]] = {}
    for module in modules_in(sets):
        tables = [found for found in classes_of(module) if issubclass(found, DataSetConfig)]
        if len(tables) != 1:
            raise ValueError(f"{module.__name__} defines {len(tables)} data sets' tables, expected one")
        name = tables[0].kind_name()
        if name in kinds:
            raise ValueError(f"{module.__name__}: {name!r} is a kind of {kinds[name].__module__} already")
        kinds[name] = tables[0]
    return dict(sorted(kinds.items()))


def open_data(config: Mapping[str, Any] | DataSetConfig) -> DataSets:
    """Open the parts that train, choose and report.

    Args:
        config: ``kind`` and that kind's options, checked or as TOML gives them.

    Raises:
        InvalidConfig: an unknown kind or key, a wrong value, or a faulty folder.
    """
    return (read_data_config(config) if isinstance(config, Mapping) else config).open()


def read_data_config(config: Mapping[str, Any], place: str = "data") -> DataSetConfig:
    """Check a plain mapping, as TOML gives it.

    Args:
        config: The table.
        place: The table's name, for messages.

    Raises:
        InvalidConfig: all unknown keys and wrong values at once.
    """
    kind, known = config.get("kind"), data_set_kinds()
    if not isinstance(kind, str) or kind not in known:
        advice = did_you_mean(str(kind), known) or f"known kinds: {', '.join(known)}"
        found = "no kind of data set is given" if kind is None else f'unknown kind of data set "{kind}"'
        raise InvalidConfig(found, place=f"{place}.kind", advice=advice)
    try:
        return known[kind].model_validate(dict(config))
    except ValidationError as error:
        raise InvalidConfig([_problem(detail, known[kind], place) for detail in error.errors()]) from error


def _problem(detail: Any, model: type[BaseModel], place: str) -> Problem:
    """Turn one of pydantic's findings into a located problem."""
    path = [str(part) for part in detail["loc"]]
    where = ".".join([place, *path])
    if detail["type"] == "extra_forbidden":
        known = _table_at(path[:-1], model).model_fields
        return Problem("unknown key", where, did_you_mean(path[-1], known) or f"known keys: {', '.join(known)}")
    if detail["type"] == "missing":
        return Problem("this key is needed", where)
    return Problem(f"{detail['input']!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}", where)


def _table_at(path: list[str], model: type[BaseModel]) -> type[BaseModel]:
    """Return the model of the table at ``path`` inside a table."""
    for part in path:
        field = model.model_fields.get(part)
        hint = field.annotation if field else None
        for inner in (hint, *get_args(hint)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return model
