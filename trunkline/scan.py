"""Finds what the files of a folder define, so that adding a kind of something is adding a file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def modules_in(package: ModuleType) -> tuple[ModuleType, ...]:
    """Import and return the modules and sub-packages directly in ``package``, sorted by name."""
    return _imported(package.__name__, tuple(package.__path__))


def classes_of(module: ModuleType) -> list[type]:
    """Return the public classes of a module that are defined in it or, for a package, below it."""
    inside = (module.__name__, f"{module.__name__}.")
    found = [value for name, value in vars(module).items() if isinstance(value, type) and not name.startswith("_")]
    return [value for value in found if value.__module__ == inside[0] or value.__module__.startswith(inside[1])]


def kinds_in(package: str, base: type[T]) -> dict[str, type[T]]:
    """Return the kinds that the files of a folder define, by name, sorted.

    A kind is a subclass of ``base`` that is not abstract and gives its own ``name``; what a file merely imports is not
    its own.

    Args:
        package: Dotted name of the folder.
        base: The interface.

    Raises:
        ValueError: Two kinds have one name.

    >>> from trunkline.supermodel.methods.base import Method
    >>> "automtl" in kinds_in("trunkline.supermodel.methods", Method)
    True
    """
    found: dict[str, type[T]] = {}
    for module in modules_in(importlib.import_module(package)):
        for kind in classes_of(module):
            if not issubclass(kind, base) or inspect.isabstract(kind) or "name" not in vars(kind):
                continue
            name: str = vars(kind)["name"]
            if name in found:
                raise ValueError(f"{found[name].__module__} and {module.__name__} both define the kind {name!r}")
            found[name] = kind
    return dict(sorted(found.items()))


@cache
def _imported(package: str, path: tuple[str, ...]) -> tuple[ModuleType, ...]:
    # By the path too: a package may get a further folder later, such as a user's own.
    names = sorted(found.name for found in pkgutil.iter_modules(path))
    return tuple(importlib.import_module(f"{package}.{name}") for name in names)
