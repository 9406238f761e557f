"""Unique names for values and weights that stay as close to the user's as possible."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """Hands out names. Those the user gave to blobs are reserved for the blobs."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._taken = set(reserved)
        self._given: set[str] = set()
        self._next: dict[str, int] = {}

    def reserved(self, name: str) -> str:
        """Return a reserved name to its owner; a second owner gets a new one."""
        if name in self._given:
            return self.new(name)
        self._given.add(name)
        return name

    def new(self, name: str) -> str:
        """Return ``name``, or the first of ``name_2``, ``name_3``… that is free."""
        candidate = name
        while candidate in self._taken:
            self._next[name] = self._next.get(name, 1) + 1
            candidate = f"{name}_{self._next[name]}"
        self._taken.add(candidate)
        return candidate
