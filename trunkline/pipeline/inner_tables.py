"""Inner tables of a pipeline file, such as ``optimiser = { lr = 0.01 }``: what one does not name stays as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from trunkline.errors import InvalidConfig
from trunkline.pipeline.preset import DEFAULT_METHOD
from trunkline.pipeline.tables import TrainConfig
from trunkline.supermodel.methods.registry import method_named


def over_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pipeline's content whose inner tables hold the defaults that they do not name.

    Otherwise a new learning rate would silently switch weight decay off.

    >>> train = over_defaults({"train": {"optimiser": {"lr": 0.01}}})["train"]
    >>> train["optimiser"]["lr"], train["optimiser"]["weight_decay"]
    (0.01, 0.0001)
    """
    filled = dict(content)
    if isinstance(content.get("train"), Mapping):
        filled["train"] = _filled(content["train"], TrainConfig)
    if isinstance(content.get("search"), Mapping):
        filled["search"] = _filled_search(content["search"])
    return filled


def _filled_search(table: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        method = method_named(str(table.get("method", DEFAULT_METHOD)))
    except InvalidConfig:
        return table  # refused with all other problems of the file
    return _filled(table, method.Options)


def _filled(table: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    filled = dict(table)
    for key, field in model.model_fields.items():
        given, default = table.get(key), field.default
        if isinstance(given, Mapping) and isinstance(default, BaseModel):
            filled[key] = _over_default(given, default)
    return filled


def _over_default(given: Mapping[str, Any], default: BaseModel) -> dict[str, Any]:
    # Another kind of optimiser or schedule has other settings: nothing of the default's is meant.
    if given.get("kind", getattr(default, "kind", None)) != getattr(default, "kind", None):
        return dict(given)
    return {**default.model_dump(mode="json", exclude_unset=True), **given}
