"""``--axis NAME=SIZE``: the size of an axis that a file leaves open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from trunkline.errors import InvalidConfig, Problem
from trunkline.text import quoted

# At most nine digits: no axis is longer, and int() refuses a very long number with an error that is not ours.
_SIZE = re.compile(r"[0-9]{1,9}", re.ASCII)

Axes = Annotated[
    list[str] | None,
    Parameter(
        name="--axis",
        negative="",  # cyclopts would add --empty-axis
        help="Size of another axis that a file leaves open, as NAME=SIZE, or INPUT:INDEX=SIZE for an axis without a "
        "name. Repeatable.",
    ),
]


def axes_of(given: Sequence[str] | None) -> dict[str, int]:
    """Return sizes by axis.

    Raises:
        InvalidConfig: One is not of that form, or an axis has two sizes; all of them at once.

    >>> axes_of(["width=320", "x:3=320"])
    {'width': 320, 'x:3': 320}
    """
    axes: dict[str, int] = {}
    problems: list[Problem] = []
    for entry in given or ():
        # At the last equals sign: ONNX allows any name for an axis, also one with an equals sign in it.
        name, _, size = (part.strip() for part in entry.rpartition("="))
        if not name or not _SIZE.fullmatch(size) or int(size) < 1:
            advice = "give a whole number from 1 on, for example --axis width=320 or --axis x:3=320"
            problems.append(Problem(f"{quoted(entry[:60])} is not NAME=SIZE", "--axis", advice))
        elif axes.setdefault(name, int(size)) != int(size):
            problems.append(Problem(f"{quoted(name)} is {axes[name]} and {int(size)}", "--axis", "give it once"))
    if problems:
        raise InvalidConfig(problems)
    return axes
