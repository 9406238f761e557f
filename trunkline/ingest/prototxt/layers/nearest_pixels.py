"""Which pixel of an axis TensorFlow's nearest resizing takes, in single precision, and whether that is the exact one.

A place may lie on the border between two pixels, where a rounding error decides. The fork of Caffe, ONNX's runtimes
and arithmetic without errors agree on most sizes; on the others the pixels have to be named one by one.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Coordinates = Literal["align_corners", "half_pixel_centers", "pytorch_half_pixel", ""]
Pixels = list[int]


def nearest_pixels(size: int, target: int, coordinates: Coordinates) -> tuple[Pixels, bool]:
    """Return the pixel that each of ``target`` pixels takes of ``size``, and whether every runtime takes the same.

    >>> nearest_pixels(2, 4, "")
    ([0, 0, 1, 1], True)
    >>> nearest_pixels(3, 5, "align_corners")
    ([0, 1, 1, 2, 2], True)
    """
    taken = _by_fork(size, target, coordinates)
    return taken, taken == _exact(size, target, coordinates) == _by_runtime(size, target, coordinates)


def _by_fork(size: int, target: int, coordinates: Coordinates) -> Pixels:
    """Return the pixels as the fork computes them, each operation rounded to float32."""
    places = np.arange(target, dtype=np.float32)
    if coordinates == "align_corners":
        scale = np.float32(size)
        if target > 1:  # TensorFlow aligns no corners with an output of one pixel
            scale = np.float32(size - 1) / np.float32(target - 1)
        return _clipped(np.floor(places * scale + np.float32(0.5)), size)
    scale = np.float32(size) / np.float32(target)
    if coordinates == "half_pixel_centers":
        places = places + np.float32(0.5)
    return _clipped(np.floor(places * scale), size)


def _by_runtime(size: int, target: int, coordinates: Coordinates) -> Pixels:
    """Return the pixels as onnxruntime computes them, which divides by the scale where the fork multiplies."""
    places, scale = np.arange(target, dtype=np.float32), np.float32(target) / np.float32(size)
    if coordinates == "align_corners":
        places = places * np.float32(size - 1) / np.float32(max(1, target - 1))
        return _clipped(np.floor(places + np.float32(0.5)), size)
    if coordinates == "half_pixel_centers":
        places = (places + np.float32(0.5)) / scale - np.float32(0.5)
        return _clipped(np.floor(places + np.float32(0.5)), size)
    return _clipped(np.floor(places / scale), size)


def _exact(size: int, target: int, coordinates: Coordinates) -> Pixels:
    """Return the pixels in whole numbers, so without rounding errors."""
    if coordinates == "align_corners":
        steps = max(1, target - 1)
        return [(2 * i * (size - 1) + steps) // (2 * steps) for i in range(target)]
    if coordinates == "half_pixel_centers":
        return [(2 * i + 1) * size // (2 * target) for i in range(target)]
    return [i * size // target for i in range(target)]


def _clipped(places: np.ndarray[tuple[int, ...], np.dtype[np.float32]], size: int) -> Pixels:
    return [int(place) for place in np.clip(places, 0, size - 1)]
