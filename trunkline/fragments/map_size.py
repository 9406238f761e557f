"""The size of a feature map, which is what fragments are made for: the batch is free."""

from __future__ import annotations

from trunkline.graph.graph import Shape

Size = tuple[int, int, int]
"""Channels, height and width of a map ``[N, C, h, w]``."""


def map_size(shape: Shape) -> Size:
    """Return the size of a map from its shape ``[N, C, h, w]``, of which all but N is known.

    >>> map_size((None, 64, 8, 8))
    (64, 8, 8)
    """
    channels, height, width = (int(size or 0) for size in shape[1:])
    return channels, height, width
