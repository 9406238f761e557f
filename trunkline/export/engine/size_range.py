"""A range of sizes of one axis, and the size that an engine is tuned for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trunkline.errors import InvalidConfig
from trunkline.text import quoted

_FORM = re.compile(r"[0-9]{1,9}(,[0-9]{1,9}){0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Sizes from ``least`` to ``most``, tuned for ``best``.

    Raises:
        InvalidConfig: They are not in this order, from 1 on.
    """

    least: int = 1
    best: int = 1
    most: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            text = f"{self.least},{self.best},{self.most} is no range of sizes"
            raise InvalidConfig(text, place="engine", advice="give least, best and most, in this order and from 1 on")

    def __contains__(self, size: int) -> bool:
        return self.least <= size <= self.most

    def __str__(self) -> str:
        return f"{self.least},{self.best},{self.most}"

    @classmethod
    def read(cls, text: str, option: str) -> SizeRange:
        """Return what ``8``, ``1,8`` or ``1,4,8`` gives: one size, a range tuned for its largest, or all three.

        Raises:
            InvalidConfig: It is none of these.

        >>> str(SizeRange.read("1,8", "--batch"))
        '1,8,8'
        """
        parts = text.replace(" ", "")
        if not _FORM.fullmatch(parts):
            advice = f"give one size, least and most, or least, best and most: {option} 1,4,8"
            raise InvalidConfig(f"{option} is {quoted(text[:40])}", advice=advice)
        sizes = [int(part) for part in parts.split(",")]
        return cls(sizes[0], sizes[-1] if len(sizes) < 3 else sizes[1], sizes[-1])
