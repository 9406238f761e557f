"""Finds what the files of a folder define, so that adding a kind of something is adding a file."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType


def modules_in(package: ModuleType) -> tuple[ModuleType, ...]:
    """Import and return the modules and sub-packages directly in ``package``, sorted by name."""
    return _imported(package.__name__, tuple(package.__path__))


def classes_of(module: ModuleType) -> list[type]:
    """Return the public classes of a module that are defined in it or, for a package, below it."""
    inside = (module.__name__, f"{module.__name__}.")
    found = [value for name, value in vars(module).items() if isinstance(value, type) and not name.startswith("_")]
    return [value for value in found if value.__module__ == inside[0] or value.__module__.startswith(inside[1])]


@cache
def _imported(package: str, path: tuple[str, ...]) -> tuple[ModuleType, ...]:
    # By the path too: a package may get a further folder later, such as a user's own.
    names = sorted(found.name for found in pkgutil.iter_modules(path))
    return tuple(importlib.import_module(f"{package}.{name}") for name in names)
