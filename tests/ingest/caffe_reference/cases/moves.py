"""Layers that move numbers, and those that add them up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

from caffe_reference.cases.parts import Rng, dense, divisors, image, pick, same, single
from caffe_reference.net import Layer, Net, Word

AXES = (1, 2, 3, -1, -2, -3)


def flatten(rng: Rng) -> Iterator[Net]:
    for axis, end, _ in product((None, *AXES), (None, *AXES), range(2)):
        fields = {name: value for name, value in (("axis", axis), ("end_axis", end)) if value is not None}
        yield single("Flatten", image(rng), {"flatten_param": fields} if fields else {})


def reshape(rng: Rng) -> Iterator[Net]:
    for _ in range(260):
        shape = image(rng, 1, 6)
        axis, count = pick(rng, (None, 0, 1, 2, 3, -1, -2, -3, -4)), pick(rng, (None, None, -1, 0, 1, 2, 3))
        start = axis or 0
        start = start + 5 if start < 0 else start
        end = 4 if count in (None, -1) else start + count
        replaced = [0, *shape][start:end]
        dims = _dims(rng, replaced, start)
        fields = {"shape": {"dim": dims}}
        fields |= {name: value for name, value in (("axis", axis), ("num_axes", count)) if value is not None}
        yield single("Reshape", shape, {"reshape_param": fields})
    yield single("Reshape", (2, 3, 4), {"reshape_param": {"shape": {"dim": [-1, 24]}}})
    yield single("Reshape", (2, 3, 4), {"reshape_param": {"shape": {"dim": [-1, 4, 3, 2]}}})


def _dims(rng: Rng, sizes: list[int], start: int) -> list[int]:
    """Other sizes of the same product, some of them copied or inferred; the batch (0) stays in front."""
    batch, rest = ([0], sizes[1:]) if sizes and start == 0 else ([], list(sizes))
    total = 1
    for size in rest:
        total *= size
    dims = []
    while len(dims) < 3 and (total > 1 or rng.random() < 0.3):
        dims.append(int(pick(rng, divisors(total))))
        total //= dims[-1]
    dims.append(total)
    at = int(rng.integers(len(dims)))
    if rng.random() < 0.6:
        dims[at] = -1
    for i in range(len(rest[: len(dims)])):
        if dims[i] == rest[i] and rng.random() < 0.5:
            dims[i] = 0
    return [*batch, *dims]


def permute(rng: Rng) -> Iterator[Net]:
    for order, keep in product(permutations((1, 2, 3)), (4, 3, 2)):
        named = [0, *order][:keep]
        for _ in range(3):
            yield single("Permute", image(rng), {"permute_param": {"order": named}})


def shuffle(rng: Rng) -> Iterator[Net]:
    for channels in (1, 4, 6, 8, 12):
        for group in divisors(channels):
            fields = {"shuffle_channel_param": {"group": group}}
            yield single("ShuffleChannel", image(rng, 1, 5, (channels,)), fields)
    yield single("ShuffleChannel", (4, 2, 2))


def tile(rng: Rng) -> Iterator[Net]:
    for axis, tiles, _ in product((None, *AXES), (1, 2, 3), range(3)):
        fields = {"tiles": tiles} if axis is None else {"tiles": tiles, "axis": axis}
        yield single("Tile", image(rng, 1, 5), {"tile_param": fields}, bottoms=["x"], before=[same("x")])
    for tiles in (1, 2, 4):
        yield single("Tile", (2, 2, 2), {"tile_param": {"tiles": tiles}}, bottoms=["rows"], before=[dense("rows", 3)])


def reduction(rng: Rng) -> Iterator[Net]:
    for operation, axis, coeff in product((None, "SUM", "ASUM", "SUMSQ", "MEAN"), AXES, (None, 0.5, -2)):
        fields = {"operation": None if operation is None else Word(operation), "axis": axis, "coeff": coeff}
        fields = {name: value for name, value in fields.items() if value is not None}
        yield single("Reduction", image(rng, 1, 5), {"reduction_param": fields})


def silence(rng: Rng) -> Iterator[Net]:
    """A blob that is thrown away is no output."""
    for _ in range(3):
        net = single("TanH", image(rng))
        unused = [Layer("Sigmoid", "other", ["data"], ["z"]), Layer("Silence", "silence", ["z"], [])]
        yield Net(net.image, [*net.layers, *unused])


GRID = {
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "ShuffleChannel": shuffle,
    "Tile": tile,
    "Reduction": reduction,
    "Silence": silence,
}
