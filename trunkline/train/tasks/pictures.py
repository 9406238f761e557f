"""Colours for labels and predictions, with numpy alone."""

from __future__ import annotations

import colorsys
import functools

import numpy as np

from trunkline.train.labels.label_kind import IGNORE

# Hues that are this far apart (the golden section of a turn) stay apart, however many there are.
_GOLDEN = 0.618033988749895
# Equally spaced stops of a scale from dark violet over red to pale yellow, monotone in lightness.
_HEAT_STOPS = np.array(
    [
        [12, 8, 38],
        [66, 15, 109],
        [120, 28, 109],
        [173, 48, 89],
        [219, 80, 59],
        [247, 130, 18],
        [250, 192, 39],
        [252, 250, 170],
    ],
    np.float64,
)

HEAT = _HEAT_STOPS.astype(int).tolist()
"""The stops as lists of red, green and blue."""


@functools.cache
def class_colours(classes: int) -> np.ndarray:
    """Return ``[256, 3]`` uint8: clearly different colours for the first ``classes`` numbers, black for the rest."""
    table = np.zeros((256, 3), np.uint8)
    for number in range(classes):
        hue = number * _GOLDEN % 1
        saturation = (0.45, 0.68, 0.85)[number // 3 % 3]
        value = (0.95, 0.72, 0.55)[number % 3]
        table[number] = [round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value)]
    return table


def heat_colours(values: np.ndarray) -> np.ndarray:
    """Colour ``[H, W]`` values from 0 (dark) to 1 (bright); values beyond are clipped. Returns uint8 ``[H, W, 3]``."""
    position = np.clip(np.nan_to_num(values), 0, 1) * (len(_HEAT_STOPS) - 1)
    low = np.minimum(position.astype(np.int64), len(_HEAT_STOPS) - 2)
    towards_next = (position - low)[..., None]
    mixed = _HEAT_STOPS[low] * (1 - towards_next) + _HEAT_STOPS[low + 1] * towards_next
    coloured: np.ndarray = mixed.astype(np.uint8)
    return coloured


def grey(array: np.ndarray) -> np.ndarray:
    """Show ``[1, H, W]`` values in [0, 1] as grey; ignored pixels (255) are middle grey. uint8 ``[H, W, 3]``."""
    values = np.asarray(array, np.float64).reshape(array.shape[-2:])
    lightness = np.clip(np.nan_to_num(values), 0, 1) * 255
    shown = np.where(values == IGNORE, 128, lightness).astype(np.uint8)
    return np.repeat(shown[..., None], 3, -1)
