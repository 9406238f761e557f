"""Edges made from a class map, for data that has no edge labels of its own."""

from __future__ import annotations

import numpy as np

from trunkline.train.labels.label_kind import IGNORE


def label_boundaries(label: np.ndarray) -> np.ndarray:
    """Return ``[H, W]`` uint8: 1 where a pixel's right, left, upper or lower neighbour is of another class.

    Ignored pixels (255) are ignored in the edge map too, and no edge is drawn against them: where they begin is
    not a boundary that anybody labelled.
    """
    marked = np.zeros(label.shape, bool)
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        differs = (label[first] != label[second]) & (label[first] != IGNORE) & (label[second] != IGNORE)
        marked[first] |= differs
        marked[second] |= differs
    return np.where(label == IGNORE, np.uint8(IGNORE), marked.astype(np.uint8))
