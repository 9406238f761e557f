"""Presets: pipeline files with the numbers of a paper, to be merged under a user's own.

A preset is a TOML file of ``pipeline/presets/``, found by its name. It gives the source of each number. What the
user's file gives comes first, key by key; of ``[search]`` a preset's keys count only if it is for the same method.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.text import quoted

DEFAULT_METHOD = "automtl"


@cache
def presets() -> Mapping[str, str]:
    """Return the text of every preset by name.

    >>> "automtl-paper-nyuv2" in presets()
    True
    """
    folder = resources.files("trunkline.pipeline").joinpath("presets")
    files = [item for item in folder.iterdir() if item.name.endswith(".toml")]
    # A file system lists a folder in any order; messages that name the presets must not depend on it.
    files.sort(key=lambda item: item.name)
    return {item.name.removesuffix(".toml"): item.read_text(encoding="utf-8") for item in files}


def with_preset(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pipeline's content with the keys of its ``preset`` wherever it has none itself.

    Raises:
        InvalidConfig: There is no such preset.

    >>> merged = with_preset({"preset": "demo", "train": {"steps": 10}})
    >>> merged["train"]["steps"], merged["train"]["batch_size"]
    (10, 4)
    >>> "steps" in with_preset({"preset": "demo", "search": {"method": "single-task"}})["search"]
    False
    """
    name = content.get("preset")
    if name is None:
        return dict(content)
    if not isinstance(name, str) or name not in presets():
        advice = did_you_mean(str(name), presets()) or f"known: {', '.join(presets())}"
        raise InvalidConfig(f"there is no preset {quoted(str(name))}", place="preset", advice=advice)
    below = tomllib.loads(presets()[name])
    presets_method = _method(below.get("search", {}), DEFAULT_METHOD)
    wanted = _method(content.get("search", {}), presets_method)
    if presets_method != wanted:
        # One method's options would be another's unknown keys. The keys of [train] are good for any method.
        below.pop("search", None)
    return laid_over(below, content)


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with what ``above`` says, key by key, in inner tables too; but one of another kind is new.

    >>> laid_over({"steps": 1, "optimiser": {"lr": 1, "momentum": 0}}, {"optimiser": {"lr": 2}})
    {'steps': 1, 'optimiser': {'lr': 2, 'momentum': 0}}
    >>> laid_over({"schedule": {"kind": "drops", "gamma": 0.1}}, {"schedule": {"kind": "step", "size": 7}})
    {'schedule': {'kind': 'step', 'size': 7}}
    """
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping) and not _is_of_another_kind(value, known):
            merged[key] = laid_over(known, value)
        else:
            # Also where one is a table and the other is not: the schema then shows the user what is in the file.
            merged[key] = value
    return merged


def _is_of_another_kind(table: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    # Numbers of one kind of optimiser, schedule or data set mean something else to another. A table that names no
    # kind has one that is not known here, so all that it says is kept.
    return "kind" in table and "kind" in known and table["kind"] != known["kind"]


def _method(table: Any, otherwise: str) -> str:
    return str(table.get("method", otherwise)) if isinstance(table, Mapping) else otherwise
