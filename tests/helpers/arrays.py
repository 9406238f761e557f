"""Small arrays for models of one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def normal_by(generator: np.random.Generator) -> Callable[..., Array]:
    """Return a function that draws normal float32 arrays of a given shape; a module draws from a stream of its own."""

    def normal(*shape: int) -> Array:
        return generator.standard_normal(shape).astype(np.float32)

    return normal


def ints(*numbers: int) -> Array:
    return np.array(numbers, dtype=np.int64)


def floats(*numbers: float) -> Array:
    return np.array(numbers, dtype=np.float32)


def scalar(number: float) -> Array:
    return np.array(number, dtype=np.float32)
