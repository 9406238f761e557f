"""The kinds of task, found by looking into every file of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from trunkline.errors import InvalidConfig, Problem, did_you_mean
from trunkline.scan import classes_of, modules_in
from trunkline.text import quoted
from trunkline.train import tasks
from trunkline.train.tasks.base import Task
from trunkline.train.tasks.options import option_problems


def task_kinds() -> Mapping[str, type[Task]]:
    """Return the kinds of task by name, sorted.

    >>> list(task_kinds())
    ['classification', 'depth', 'edges', 'keypoints', 'normals', 'segmentation']
    """
    return _kinds_in(tuple(tasks.__path__))


@cache  # by path: a test, or a plug-in, may add a folder to the package
def _kinds_in(_path: tuple[str, ...]) -> Mapping[str, type[Task]]:
    kinds: dict[str, type[Task]] = {}
    for module in modules_in(tasks):
        for found in classes_of(module):
            # Only its own `kind` makes a class a kind: MapTask has none, and a subclass of Depth inherits Depth's.
            if not issubclass(found, Task) or "kind" not in vars(found):
                continue
            if found.kind in kinds:
                known = kinds[found.kind].__module__
                raise ValueError(f"{found.__module__}: {quoted(found.kind)} is a kind of {known} already")
            kinds[found.kind] = found
    return dict(sorted(kinds.items()))


def task_kind(kind: str, place: str = "") -> type[Task]:
    """Return a kind of task by its name.

    Raises:
        InvalidConfig: There is no such kind.
    """
    known = task_kinds()
    if kind not in known:
        advice = did_you_mean(kind, known) or f"known kinds: {', '.join(known)}"
        raise InvalidConfig(f"unknown kind of task {quoted(kind)}", place=place, advice=advice)
    return known[kind]


def make_task(name: str, kind: str, channels: int, **options: Any) -> Task:
    """Make a task of a kind.

    Args:
        name: Name of the task.
        kind: One of :func:`task_kinds`, such as "depth".
        channels: Channels of its output: number of classes, 3 for normals, 1 for depth, edges and key points.
        **options: Fields of the kind's class, e.g. ``weight=5.0`` or, for normals, ``space="paper"``.

    Raises:
        InvalidConfig: an unknown kind or option, or values that do not fit; all of them at once.

    >>> make_task("normals", "normals", channels=3, space="paper").higher_is_better["angle_mean_paper"]
    False
    """
    place = f"task {quoted(name)}"
    maker = task_kind(kind, place)
    problems = [*option_problems(maker, options, place), *_channel_problems(maker, channels, place)]
    if problems:
        raise InvalidConfig(problems)
    return maker(name=name, channels=channels, **options)


def _channel_problems(kind: type[Task], channels: int, place: str) -> list[Problem]:
    possible = kind.possible_channels
    if channels in possible:
        return []
    if len(possible) == 1:
        return [Problem(f"{channels} channels, {kind.kind} needs {possible[0]}", place)]
    return [Problem(f"{channels} classes, expected {possible[0]} to {possible[-1]}", place)]


def _known(kind: str) -> str:
    if kind not in task_kinds():
        # In the words that pydantic has for a Literal, which a list of kinds would be if it were not open.
        expected = " or ".join(f"'{name}'" for name in task_kinds())
        raise PydanticCustomError("task_kind", "Input should be {expected}", {"expected": expected})
    return kind


KindName = Annotated[str, AfterValidator(_known)]
"""The name of a kind of task, for pydantic."""
