"""``[variants.NAME]``: the same pipeline with another method, or with other options; what ``compare`` compares.

A variant says only what it changes: options of ``[search]`` in the table itself, and keys of ``[train]`` under
``train``. It is laid over what the file says of its method already: over the variant that is called like the method,
and over ``[search]`` if that is for the same method. So the numbers of a method are written once, and an ablation is a
line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError

from trunkline.errors import InvalidConfig, Problem, problems_of
from trunkline.pipeline.inner_tables import over_defaults
from trunkline.pipeline.kind_tables import SearchConfig, read_search
from trunkline.pipeline.preset import DEFAULT_METHOD, laid_over
from trunkline.pipeline.tables import TrainConfig
from trunkline.supermodel.methods.registry import methods
from trunkline.supermodel.methods.single_task import SingleTask

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Variant(BaseModel):
    """A method with its options, and how its model is trained.

    Attributes:
        search: The method and its options.
        train: All of ``[train]``, with what the variant changes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: SerializeAsAny[SearchConfig]
    train: TrainConfig

    def anchored(self, folder: Path) -> Variant:
        """Return the variant with absolute paths; relative ones are in ``folder``."""
        options = self.search.options.anchored(folder)
        return self.model_copy(update={"search": self.search.model_copy(update={"options": options})})


def read_variants(content: Mapping[str, Any]) -> tuple[dict[str, Variant], list[Problem]]:
    """Return the variants of a pipeline's content by name, and what is wrong with those that cannot be used.

    >>> content = {"variants": {"bmtas": {"warm_up": 3}, "cold": {"method": "bmtas", "warm_up": 0}}}
    >>> found, problems = read_variants(content)
    >>> found["cold"].search.method, found["cold"].search.options.warm_up, problems
    ('bmtas', 0, [])
    """
    tables = content.get("variants", {})
    if not isinstance(tables, Mapping):
        return {}, [Problem("expected tables", "variants", "write a table `[variants.NAME]`, with its keys below it")]
    found: dict[str, Variant] = {}
    problems: list[Problem] = []
    for name, table in tables.items():
        try:
            found[name] = _read_variant(content, name, table)
        except InvalidConfig as error:
            problems.extend(error.problems)
    return found, problems


def _read_variant(content: Mapping[str, Any], name: str, table: Any) -> Variant:
    place = f"variants.{name}"
    if not isinstance(table, Mapping):
        advice = f"write a table `[{place}]`, with its keys below it"
        raise InvalidConfig("expected a table", place=place, advice=advice)
    if not _NAME.fullmatch(name):
        # It names a folder, and a list of names is separated by commas.
        raise InvalidConfig("a name is made of letters, digits, '.', '_' and '-', a letter or digit first", place=place)
    if name == SingleTask.name:
        advice = "call it otherwise; keys of [train] itself are for all, single-task models too"
        raise InvalidConfig("single-task models are what Δ is against", place=place, advice=advice)
    own = {key: value for key, value in table.items() if key != "train"}
    method = _method_of(name, own, place)
    search = laid_over(_said_of(content, method, name), {**own, "method": method})
    train = laid_over(_table(content, "train"), _table(table, "train"))
    filled = over_defaults({"search": search, "train": train})
    try:
        read = read_search(filled["search"])
    except InvalidConfig as error:
        raise InvalidConfig([_in_variant(item, place) for item in error.problems]) from error
    try:
        trained = TrainConfig.model_validate_json(json.dumps(filled["train"], default=str), strict=True)
    except ValidationError as error:
        raise InvalidConfig(problems_of(error, TrainConfig, table=f"{place}.train")) from error
    return Variant(search=read, train=trained)


def _method_of(name: str, own: Mapping[str, Any], place: str) -> str:
    """Return the method of a variant: the one it names, else the one it is called like."""
    if "method" in own:
        return str(own["method"])
    if name in methods():
        return name
    raise InvalidConfig("it is called like no method, so it must name one", place=f"{place}.method")


def _said_of(content: Mapping[str, Any], method: str, name: str) -> dict[str, Any]:
    """Return what a file says of a method outside the variant ``name``."""
    search = _table(content, "search")
    said = dict(search) if search.get("method", DEFAULT_METHOD) == method else {}
    if name == method:
        return said
    own = _table(_table(content, "variants"), method)
    if own.get("method", method) != method:
        return said  # called like this method, it is of another one
    return laid_over(said, {key: value for key, value in own.items() if key != "train"})


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a table of a file; what is none is refused where the whole file is checked."""
    table = content.get(key, {})
    return table if isinstance(table, Mapping) else {}


def _in_variant(problem: Problem, place: str) -> Problem:
    key = problem.place.removeprefix("search")
    return Problem(problem.message, f"{place}{key}", problem.advice)
