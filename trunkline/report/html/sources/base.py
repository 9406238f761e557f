"""What every kind of source of a report is."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from trunkline.errors import InvalidConfig
from trunkline.files.read import read_own
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


def content_of(path: Path) -> Mapping[str, Any]:
    """Return the JSON object in a file; an empty one where there is no file, or its JSON is no object.

    Raises:
        InvalidConfig: The file is not JSON, or too large.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(read_own(path, "a result"))
    except ValueError as error:
        raise InvalidConfig(f"this is not JSON: {error}", place=str(path)) from error
    return content if isinstance(content, Mapping) else {}
