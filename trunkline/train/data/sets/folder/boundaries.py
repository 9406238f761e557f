"""Edges made from a class map, for data that has no edge labels of its own."""

from __future__ import annotations

import numpy as np

from trunkline.train.labels.label_kind import IGNORE


def label_boundaries(label: np.ndarray) -> np.ndarray:
    """Return ``[H, W]`` uint8: 1 where a pixel's right, left, upper or lower neighbour is of another class.

    Ignored pixels (255) are ignored in the edge map too, and no edge is drawn against them: the border of an ignored
    region was not labelled as one.

    >>> label_boundaries(np.array([[3, 3, 5, 255]]))
    array([[  0,   1,   1, 255]], dtype=uint8)
    """
    marked = np.zeros(label.shape, bool)
    columns = np.s_[:, :-1], np.s_[:, 1:]
    rows = np.s_[:-1, :], np.s_[1:, :]
    for first, second in (columns, rows):
        both_labelled = (label[first] != IGNORE) & (label[second] != IGNORE)
        differs = (label[first] != label[second]) & both_labelled
        marked[first] |= differs
        marked[second] |= differs
    return np.where(label == IGNORE, np.uint8(IGNORE), marked.astype(np.uint8))
