"""What everything that shows progress begins and ends with: nothing, unless it has a bar to open."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Shown:
    """Can be entered and left like a file; opens nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return
