"""Siblings: files of one folder with the same small interface, found by looking, so that a new one touches no table."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TypeVar

T = TypeVar("T")


def siblings(package: str, base: type[T]) -> dict[str, type[T]]:
    """Return the kinds that the modules of ``package`` define, by name, in the order of their names.

    A kind is a subclass of ``base`` that is not abstract, gives its own ``name``, and is defined in a module that lies
    directly in the package. What a module merely imports is not its own.

    Args:
        package: Dotted name of the folder.
        base: The interface.

    Raises:
        ValueError: Two kinds have one name.

    >>> from trunkline.fragments.joins.base import JoinKind
    >>> "mix" in siblings("trunkline.fragments.joins", JoinKind)
    True
    """
    found: dict[str, type[T]] = {}
    folder = importlib.import_module(package)
    for item in pkgutil.iter_modules(folder.__path__):
        module = importlib.import_module(f"{package}.{item.name}")
        for kind in vars(module).values():
            if not _is_kind(kind, base, module.__name__):
                continue
            name = kind.name
            if name in found:
                raise ValueError(f"{found[name].__module__} and {module.__name__} both define the kind {name!r}")
            found[name] = kind
    return dict(sorted(found.items()))


def _is_kind(item: object, base: type, module: str) -> bool:
    if not isinstance(item, type) or not issubclass(item, base):
        return False
    return item.__module__ == module and "name" in vars(item) and not inspect.isabstract(item)
