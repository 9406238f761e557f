"""Search methods, one file each. A method builds a supermodel, names its loss terms, and decides a plan."""

from __future__ import annotations

from trunkline.errors import InvalidConfig, did_you_mean
from trunkline.supermodel.methods.automtl import AutoMTL
from trunkline.supermodel.methods.base import SearchMethod

METHODS: dict[str, type[SearchMethod]] = {"automtl": AutoMTL}


def method_named(name: str) -> type[SearchMethod]:
    """Return the method called ``name``.

    Raises:
        InvalidConfig: There is none.
    """
    if name not in METHODS:
        advice = did_you_mean(name, METHODS) or f"methods are {', '.join(METHODS)}"
        raise InvalidConfig(f"unknown method {name!r}", advice=advice)
    return METHODS[name]
