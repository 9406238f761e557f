"""The options of a kind of task are the fields of its class; values are checked by the annotations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from trunkline.errors import Problem, did_you_mean
from trunkline.text import escaped, quoted
from trunkline.train.tasks.base import Task


def option_problems(kind: type[Task], options: Mapping[str, Any], place: str) -> list[Problem]:
    """Return what is wrong with these options of a kind: unknown names, and values of a wrong type.

    >>> from trunkline.train.tasks.depth import Depth
    >>> print(option_problems(Depth, {"loss_size": "pixel"}, 'task "depth"')[0])
    task "depth": loss_size = 'pixel', expected "output" or "label"
    """
    known = [field.name for field in dataclasses.fields(kind) if field.name not in ("name", "channels")]
    hints = get_type_hints(kind)
    problems = []
    for option, value in options.items():
        if option not in known:
            advice = did_you_mean(option, known) or f"known options: {', '.join(known)}"
            problems.append(Problem(f"unknown option {quoted(option)}", place, advice))
        elif not _fits(value, hints[option]):
            found = f"{option} = {escaped(repr(value))}"
            problems.append(Problem(f"{found}, expected {_described(hints[option])}", place))
    return problems


def _fits(value: object, hint: Any) -> bool:
    """Return whether a value suits an option's type: one of several words, or a number from 0 on."""
    choices = _choices(hint)
    if isinstance(value, str):
        return value in choices
    # TOML's true is an int in Python, and its inf a float.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return float in choices and 0 <= value < math.inf


def _described(hint: Any) -> str:
    return " or ".join("a number from 0 on" if choice is float else f'"{choice}"' for choice in _choices(hint))


def _choices(hint: Any) -> list[Any]:
    """Return the words of a ``Literal``, and ``float`` where a number may be given."""
    if hint is float:
        return [float]
    choices: list[Any] = []
    for member in get_args(hint):
        choices += get_args(member) or (member,)  # a Literal within a union
    return choices
