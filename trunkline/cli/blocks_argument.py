"""The option ``--blocks``: which of a backbone's blocks belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trunkline.errors import InvalidConfig
from trunkline.sharing.layouts.merged_backbone import MergedCost
from trunkline.text import quoted

Blocks = Annotated[
    str | None,
    Parameter(name="--blocks", help="Merge blocks: into so many of similar cost, or as a JSON file lists them."),
]
BlocksBy = Annotated[
    MergedCost, Parameter(name="--blocks-by", help="What a number of merged blocks is to have alike; ms needs --costs.")
]


def blocks_of(text: str | None) -> int | Path | None:
    """Return how many blocks, or the file that lists them.

    Raises:
        InvalidConfig: It is neither a number nor a file.
    """
    if text is None:
        return None
    if text.isdecimal() and len(text) < 10:
        return int(text)
    path = Path(text)
    if not path.exists():
        said = f"--blocks {quoted(text[:60])} is no number, and no such file exists"
        raise InvalidConfig(said, advice="give a number, or a JSON file such as [[0], [1, 2, 3], [4]]")
    return path
