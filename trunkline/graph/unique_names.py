"""Names that occur once: ``conv``, ``conv_2``, ``conv_3`` and so on."""

from __future__ import annotations

from collections.abc import Iterable


class UniqueNames:
    """Remembers which names are taken, and finds free ones beside them.

    Names are never given back. So the search for a free number goes on where it ended: a file with 100,000 nodes of
    one name costs as many steps, not their square.
    """

    def __init__(self, taken: Iterable[str | None] = ()) -> None:
        self._taken = {name for name in taken if name is not None}
        self._next: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def reserve(self, names: Iterable[str]) -> None:
        """Mark names as taken."""
        self._taken.update(names)

    def free(self, name: str) -> str:
        """Return ``name``, or the first of ``name_2``, ``name_3``… that is free; it stays free."""
        if name not in self._taken:
            return name
        count = self._next.get(name, 2)
        while f"{name}_{count}" in self._taken:
            count += 1
        self._next[name] = count
        return f"{name}_{count}"

    def take(self, name: str) -> str:
        """Return what :func:`free` does, and mark it as taken."""
        found = self.free(name)
        self._taken.add(found)
        return found
