"""Check a data folder before any work begins, and report all its problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trunkline.errors import InvalidConfig, Problem

MOST_LISTED = 20
"""Problems that one error lists: a folder may lack all its labels."""


class Checkable(Protocol):
    """A data set made of files."""

    def problems(self) -> list[Problem]:
        """Return what names, headers and sizes of files show to be wrong; no picture is decoded."""


def check_labels(dataset: Checkable) -> None:
    """Check that every file is there, is readable by its header, and fits its image.

    Raises:
        InvalidConfig: with the first 20 problems and the number of further ones.
    """
    raise_all(dataset.problems())


def raise_all(problems: Sequence[Problem]) -> None:
    """Raise one error for all problems, if there are any; a long list is cut."""
    if not problems:
        return
    listed = list(problems[:MOST_LISTED])
    if len(problems) > MOST_LISTED:
        listed.append(Problem(f"… and {len(problems) - MOST_LISTED} more"))
    raise InvalidConfig(listed)
