"""``--features NAME,NAME``: the values that a network is cut at."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from trunkline.errors import InvalidConfig
from trunkline.text import quoted

Features = Annotated[
    str | None,
    Parameter(name="--features", help="End the network at these values or nodes, as NAME,NAME,…"),
]


def features_of(text: str | None) -> tuple[str, ...]:
    """Return the names that ``--features`` lists, without repetitions.

    Raises:
        InvalidConfig: A name is empty.
    """
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InvalidConfig(f"--features {quoted(text[:60])} holds an empty name", advice="for example layer1,layer4")
    return tuple(dict.fromkeys(names))
