"""Which of a backbone's feature maps (taps) a head reads: one reads the last, several read all of them, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from trunkline.graph.graph import Graph, name_of

T = TypeVar("T")


def read_taps(head: Graph, taps: Sequence[T]) -> list[tuple[str, T]]:
    """Return the names of ``head``'s inputs, each with the tap it reads.

    Args:
        head: With one input, or one for each tap.
        taps: A value for each feature map of the backbone, the finest first.
    """
    names = [name_of(value) for value in head.model.graph.inputs]
    return list(zip(names, taps[-len(names) :], strict=True))
