"""Unique names for values and weights that stay as close to the user's as possible."""

from __future__ import annotations

from collections.abc import Iterable

from trunkline.graph.unique_names import UniqueNames


class BlobNames:
    """Hands out names. Those the user gave to blobs are reserved for the blobs."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._names = UniqueNames(reserved)
        self._given: set[str] = set()

    def reserved(self, name: str) -> str:
        """Return a reserved name to its owner; a second owner gets a new one."""
        if name in self._given:
            return self.new(name)
        self._given.add(name)
        return name

    def new(self, name: str) -> str:
        """Return ``name``, or the first of ``name_2``, ``name_3``… that is free."""
        return self._names.take(name)
