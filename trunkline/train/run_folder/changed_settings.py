"""A problem for each setting in which a run differs from what it began with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trunkline.errors import Problem
from trunkline.text import escaped


def changed_settings(
    old: Mapping[str, Any], new: Mapping[str, Any], advice: str, *, prefix: str = "", free: Collection[str] = ()
) -> list[Problem]:
    """Return a problem for each setting that has changed.

    Args:
        old: What the run began with, by key.
        new: The settings of now, by key.
        advice: What to do, the same for every problem.
        prefix: Written before the key in the problem's place.
        free: Keys that may change.

    >>> print(changed_settings({"lr": 0.1}, {"lr": 0.2}, "set it back", prefix="train.")[0])
    train.lr: is 0.2, but the run began with 0.1
      set it back
    """
    problems = []
    for key in sorted({*old, *new}.difference(free)):
        if old.get(key) != new.get(key):
            found = f"is {_shown(new, key)}, but the run began with {_shown(old, key)}"
            problems.append(Problem(found, prefix + key, advice))
    return problems


def flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested content as dotted keys: ``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    if not isinstance(content, dict) or not content:
        return {prefix.rstrip("."): content}
    found: dict[str, Any] = {}
    for name, item in content.items():
        found |= flat(item, f"{prefix}{name}.")
    return found


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return escaped(repr(settings.get(key)))
