"""What every kind of source of a report is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from trunkline.report.html.page import Chapter


class ReportSource(ABC):
    """A kind of thing that a report can be made of.

    Attributes:
        name: What it is called.
        expected: What it looks like, for who gave something else.
    """

    name: ClassVar[str]
    expected: ClassVar[str]

    @classmethod
    @abstractmethod
    def takes(cls, path: Path) -> bool:
        """Return whether this is one; of all kinds at most one may say so."""

    @classmethod
    @abstractmethod
    def read(cls, path: Path, title: str) -> Chapter:
        """Return what the page says of it.

        Raises:
            InvalidConfig: It is not what Trunkline writes.
        """
