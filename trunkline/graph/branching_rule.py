"""The rule by which a network is cut into blocks, as a user states it; see :mod:`trunkline.graph.branching`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trunkline.text import quoted

MergeDirection = Literal["previous", "next"]


@dataclass(frozen=True, slots=True)
class Branching:
    """The rule by which a network is cut into blocks.

    Attributes:
        merge: Which neighbour takes in a segment without layers.
        after: Values, or nodes, behind which tasks may part too.
        not_after: Values, or nodes, behind which they may not.

    >>> Branching(merge="next").is_default
    False
    """

    merge: MergeDirection = "previous"
    after: tuple[str, ...] = ()
    not_after: tuple[str, ...] = ()

    @property
    def is_default(self) -> bool:
        """Whether this is the rule of a network of which nothing is said."""
        return self == Branching()

    @property
    def in_words(self) -> str:
        """What it says, for messages."""
        parts = [f"merged with the {self.merge}"]
        parts += [f"tasks may part after {', '.join(map(quoted, self.after))}"] if self.after else []
        parts += [f"not after {', '.join(map(quoted, self.not_after))}"] if self.not_after else []
        return ", ".join(parts)


DEFAULT_BRANCHING = Branching()
