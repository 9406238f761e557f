"""Images for a network that was never trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_COARSE = 4


def images(count: int, size: Sequence[int], *, seed: int = 0) -> Array:
    """Return ``count`` float32 images ``[N, 3, H, W]`` of noise in two sizes of grain.

    White noise alone looks the same everywhere: what a network pools from two such images hardly differs.
    """
    numbers = np.random.default_rng(seed)
    coarse = numbers.standard_normal((count, 3, _COARSE, _COARSE), dtype=np.float32)
    fine = numbers.standard_normal((count, 3, *size), dtype=np.float32)
    rows, columns = (np.arange(length) * _COARSE // length for length in size)
    return fine + coarse[:, :, rows][:, :, :, columns]
