"""NYUv2's 40 and 13 class names, and the mapping between them.

The 40 classes are those of Gupta et al., "Perceptual Organization and Recognition of Indoor Scenes from RGB-D
Images" (CVPR 2013); the 13 are those of Couprie et al., "Indoor Semantic Segmentation using depth information"
(ICLR 2013), in the alphabetical order that SceneNet's label files use.
"""

from __future__ import annotations

import numpy as np

# fmt: off
CLASSES_40 = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor-mat", "clothes", "ceiling", "books",
    "refrigerator", "television", "paper", "towel", "shower-curtain", "box", "whiteboard", "person", "night-stand",
    "toilet", "sink", "lamp", "bathtub", "bag", "other-structure", "other-furniture", "other-prop",
)
# fmt: on

CLASSES_13 = (
    "bed",
    "books",
    "ceiling",
    "chair",
    "floor",
    "furniture",
    "objects",
    "picture",
    "sofa",
    "table",
    "tv",
    "wall",
    "window",
)

_GROUPS = {
    "bed": "bed",
    "books": "books",
    "ceiling": "ceiling",
    "chair": "chair",
    "floor": "floor floor-mat",
    "furniture": "cabinet bookshelf counter shelves dresser refrigerator night-stand other-furniture",
    "picture": "picture",
    "sofa": "sofa",
    "table": "table desk",
    "tv": "television",
    "wall": "wall door",
    "window": "window blinds curtain",
}


def mapping_40_to_13() -> np.ndarray:
    """Return ``[256]`` uint8: entry v is the 13-class label of 40-class label v; every other entry is 255 (ignore).

    Labels count from 0. Names outside the twelve listed groups (pillow, lamp, box, person, …) are "objects".

    >>> CLASSES_13[mapping_40_to_13()[CLASSES_40.index("blinds")]]
    'window'
    """
    table = np.full(256, 255, np.uint8)
    table[: len(CLASSES_40)] = CLASSES_13.index("objects")
    for coarse, fine in _GROUPS.items():
        for name in fine.split():
            table[CLASSES_40.index(name)] = CLASSES_13.index(coarse)
    return table
