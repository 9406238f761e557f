"""``[search]`` and ``[data]``: tables whose keys are for the method and for the kind of data set to say.

They are read before the rest of a pipeline, each by the model of its kind; the pipeline's own model holds the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError

from trunkline.errors import InvalidConfig, Problem, problems_of
from trunkline.pipeline.preset import DEFAULT_METHOD
from trunkline.supermodel.methods.base import MethodOptions
from trunkline.supermodel.methods.registry import method_named
from trunkline.train.data.config import DataSetConfig
from trunkline.train.data.open import read_data_config


class SearchConfig(BaseModel):
    """``[search]``: a method and its options.

    Attributes:
        method: Name of a method; docs/pipeline.md lists them.
        options: The rest of the table, whose keys the method defines.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = DEFAULT_METHOD
    # By its own class when it is written down: by the base class, no option of a method would be kept.
    options: SerializeAsAny[MethodOptions]

    @classmethod
    def of(cls, method: str = DEFAULT_METHOD, **options: Any) -> SearchConfig:
        """Return the table of a method with some of its options.

        >>> SearchConfig.of("share-until", block="2").options.block
        '2'

        Raises:
            InvalidConfig: There is no such method.
            ValidationError: An option is unknown or wrong.
        """
        return cls(method=method, options=method_named(method).Options.model_validate(options))


def read_search(table: Mapping[str, Any]) -> SearchConfig:
    """Check a plain mapping, as TOML gives it.

    Raises:
        InvalidConfig: There is no such method, or it has no such options; all of them at once.

    >>> read_search({"method": "random", "draw": 3}).options.draw
    3
    """
    own = dict(table)
    # Without a method it is not known which keys the table may have, so none of them is called unknown.
    method = method_named(str(own.pop("method", DEFAULT_METHOD)))
    try:
        # Through JSON, whose strict mode takes a list for a tuple but neither true nor "3" for a number.
        options = method.Options.model_validate_json(json.dumps(own, default=str), strict=True)
    except ValidationError as error:
        raise InvalidConfig(problems_of(error, method.Options, table="search")) from error
    return SearchConfig(method=method.name, options=options)


READERS: Mapping[str, Callable[[Mapping[str, Any]], SearchConfig | DataSetConfig]] = {
    "data": read_data_config,
    "search": read_search,
}


def read_kind_tables(content: Mapping[str, Any]) -> tuple[dict[str, SearchConfig | DataSetConfig], list[Problem]]:
    """Return what ``[data]`` and ``[search]`` say, each by its key, and what is wrong with those that cannot be used.

    >>> tables, problems = read_kind_tables({"data": {"kind": "scenes"}, "search": {"method": "magic"}})
    >>> list(tables), [problem.place for problem in problems]
    (['data'], ['search.method'])
    """
    tables: dict[str, SearchConfig | DataSetConfig] = {}
    problems: list[Problem] = []
    for key, read in READERS.items():
        if key not in content:
            continue
        if not isinstance(content[key], Mapping):
            problems.append(Problem("expected a table", key, f"write a table `[{key}]`, with its keys below it"))
            continue
        try:
            tables[key] = read(content[key])
        except InvalidConfig as error:
            problems.extend(error.problems)
    return tables, problems
