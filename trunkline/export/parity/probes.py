"""The images on which two models are compared: seeded, and of the kinds that bring defects to light.

Pixels are in normalised units, about N(0, 1). Every probe has an amplitude class; errors are judged within a class,
so that a large input cannot hide a defect that shows on an ordinary one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trunkline.seeds import seed_of

Pixels = np.ndarray[Any, np.dtype[np.float32]]
Amplitude = Literal["ordinary", "large", "small"]

LARGE, SMALL = 100.0, 0.01


@dataclass(frozen=True, slots=True)
class Probe:
    """One input batch.

    Attributes:
        index: Its place in the sequence.
        kind: What it looks like.
        amplitude: The class it is judged in.
        image: float32 ``[N, C, H, W]``, N is 1 or 2.
    """

    index: int
    kind: str
    amplitude: Amplitude
    image: Pixels


def probes(count: int, shape: tuple[int, ...], *, seed: int = 0) -> Iterator[Probe]:
    """Yield ``count`` probes of images ``[C, H, W]``: all kinds in turn, batches of one and two in turn.

    A probe is a pure function of its index, the shape and the seed. The first one is all zeros.

    >>> [(probe.kind, probe.image.shape) for probe in probes(2, (3, 8, 8))]
    [('zeros', (1, 3, 8, 8)), ('noise', (2, 3, 8, 8))]
    """
    kinds = list(_KINDS.items())
    for index in range(count):
        kind, (amplitude, draw) = kinds[index % len(kinds)]
        rng = np.random.default_rng(seed_of(f"probe/{index}", seed))
        # The number of kinds is even: without the second term each kind would keep the same batch for ever.
        batch = 1 + (index + index // len(kinds)) % 2
        yield Probe(index, kind, amplitude, draw(rng, (batch, *shape)).astype(np.float32))


Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray[Any, Any]]


def _zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.zeros(shape)


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return rng.standard_normal(shape)


def _constant(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """One colour per image: shows wrong padding at the borders, and nothing else."""
    return np.broadcast_to(rng.uniform(-2, 2, (*shape[:2], 1, 1)), shape)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """A few low-frequency waves per channel, as in photographs, scaled to unit deviation at most."""
    rows, columns = (np.linspace(0, 2 * np.pi, size) for size in shape[2:])
    total = np.zeros(shape)
    for power in range(4):
        y, x, phase = rng.uniform(-3, 3, (3, *shape[:2], 1, 1))
        total += np.sin(y * rows[:, None] + x * columns + phase) / (1 + power)
    return total


def _edges(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Two flat regions with a sharp, slanted edge."""
    rows, columns = (np.linspace(-1, 1, size) for size in shape[2:])
    y, x, offset = rng.uniform(-1, 1, (3, *shape[:2], 1, 1))
    return np.where(y * rows[:, None] + x * columns > offset / 2, 1.5, -1.5)


_KINDS: dict[str, tuple[Amplitude, Draw]] = {
    "zeros": ("ordinary", _zeros),
    "noise": ("ordinary", _noise),
    "smooth": ("ordinary", _smooth),
    "large": ("large", lambda rng, shape: LARGE * _noise(rng, shape)),
    "constant": ("ordinary", _constant),
    "small": ("small", lambda rng, shape: SMALL * _noise(rng, shape)),
    "edges": ("ordinary", _edges),
    "large smooth": ("large", lambda rng, shape: LARGE * _smooth(rng, shape)),
}
