"""The methods that there are: every file of this folder that defines one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.scan import kinds_in
from trunkline.supermodel.methods.base import Method


@cache
def methods() -> Mapping[str, type[Method[Any]]]:
    """Return all methods by name.

    >>> "automtl" in methods()
    True
    """
    return kinds_in("trunkline.supermodel.methods", Method)  # type: ignore[type-abstract]  # the interface itself


def method_named(name: str) -> type[Method[Any]]:
    """Return a method.

    Raises:
        InvalidConfig: There is none of this name.
    """
    known = methods()
    if name not in known:
        advice = did_you_mean(name, known) or f"methods are {', '.join(known)}"
        raise InvalidConfig(f"there is no method {name!r}", place="search.method", advice=advice)
    return known[name]
