"""The grid: for every layer type, the nets that are tried.

A generator yields whatever combination it likes; what Caffe itself refuses, or answers with rubbish, is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from caffe_reference.cases import (
    chains,
    dialects,
    functions,
    joins,
    moves,
    norms,
    products,
    ranks,
    shared,
    sizes,
    synopsys,
    tangles,
    windows,
)
from caffe_reference.evaluate import Array, evaluate, weight_shapes
from caffe_reference.net import Net, Senseless, prototxt

Draw = Callable[[np.random.Generator], Iterable[Net]]

GRID: dict[str, Draw] = {
    **windows.GRID,
    **products.GRID,
    **functions.GRID,
    **norms.GRID,
    **joins.GRID,
    **moves.GRID,
    **sizes.GRID,
    **ranks.GRID,
    **chains.GRID,
    **tangles.GRID,
    **shared.GRID,
    **dialects.GRID,
    **synopsys.GRID,
}
BATCH = 2


@dataclass(frozen=True, slots=True)
class Case:
    """A net with its image and weights, and what Caffe computes from them."""

    label: str
    net: Net
    image: Array
    weights: dict[tuple[str, str], Array]
    expected: list[Array]


def nets_of(kind: str) -> list[Net]:
    """All nets of one layer type, the same ones every time, each once."""
    nets = GRID[kind](np.random.default_rng(zlib.crc32(kind.encode())))
    return list({prototxt(net): net for net in nets}.values())


def cases_of(kind: str, most: int | None = None) -> Iterator[Case]:
    """The sensible cases of one layer type, or about ``most`` of them, spread over the grid."""
    nets = nets_of(kind)
    places = range(len(nets)) if most is None else np.random.default_rng(0).permutation(len(nets))
    found = (case for case in (case_of(f"{kind} {place}", nets[place]) for place in places) if case is not None)
    return islice(found, most)


def case_of(label: str, net: Net) -> Case | None:
    """``net`` with seeded image and weights, and Caffe's answer.

    ``None`` where Caffe refuses it, its answer is not finite, or the batch is not in front any more.
    """
    rng = np.random.default_rng(zlib.crc32(prototxt(net).encode()))
    image = _drawn(rng, (BATCH, *net.image))
    try:
        with np.errstate(all="ignore"):
            weights = {(w.layer, w.role): _weight(rng, w.role, w.shape) for w in weight_shapes(net)}
            expected = evaluate(net, image, weights)
    except Senseless:
        return None
    if not all(array.shape[:1] == (BATCH,) and np.isfinite(array).all() for array in expected):
        return None
    return Case(label, net, image, weights, expected)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Normal numbers that float32 holds exactly, so that every side starts from the same ones."""
    return rng.standard_normal(shape).astype(np.float32).astype(np.float64)


def _weight(rng: np.random.Generator, role: str, shape: tuple[int, ...]) -> Array:
    if role == "factor":
        return np.array([rng.choice([1.0, 2.0, 0.5])])
    content = _drawn(rng, shape)
    return np.abs(content) + 0.5 if role == "var" else content
