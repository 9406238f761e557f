"""The options of a kind of task: the fields of its class, checked by their annotations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from trunkline.errors import Problem, did_you_mean
from trunkline.train.tasks.base import Task


def option_problems(kind: type[Task], options: Mapping[str, Any], place: str) -> list[Problem]:
    """Return what is wrong with these options of a kind: names it does not know, values that do not suit."""
    known = [field.name for field in dataclasses.fields(kind) if field.name not in ("name", "channels")]
    hints = get_type_hints(kind)
    problems = []
    for option, value in options.items():
        if option not in known:
            advice = did_you_mean(option, known) or f"known options: {', '.join(known)}"
            problems.append(Problem(f'unknown option "{option}"', place, advice))
        elif not _fits(value, hints[option]):
            problems.append(Problem(f"{option} = {value!r}, expected {_describe(hints[option])}", place))
    return problems


def _fits(value: object, hint: Any) -> bool:
    """Say whether a value suits an option's type: a choice of words, or a number from 0 on."""
    choices = get_args(hint)
    if isinstance(value, str):
        return value in choices or any(value in get_args(choice) for choice in choices)
    number = hint is float or float in choices
    return number and isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _describe(hint: Any) -> str:
    if hint is float:
        return "a number from 0 on"
    words = [word for choice in get_args(hint) for word in (get_args(choice) or (choice,))]
    return " or ".join("a number from 0 on" if word is float else f'"{word}"' for word in words)
