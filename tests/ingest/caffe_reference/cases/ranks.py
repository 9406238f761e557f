"""The layers that take any blob, on blobs that are no feature maps: rows, lines and boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from caffe_reference.cases.parts import Rng, pick, same, single
from caffe_reference.net import Layer, Net, Word

_SHAPES = {2: [0, -1], 3: [0, 0, -1], 5: [0, 0, 0, -1, 2]}


def other_ranks(rng: Rng) -> Iterator[Net]:
    for rank in _SHAPES:
        for kind in ("ReLU", "PReLU", "ELU", "Power", "Dropout", "BatchNorm"):
            for _ in range(3):
                yield _on(rng, rank, kind, {"power_param": {"scale": 0.5, "shift": 2}} if kind == "Power" else {})
        for _ in range(12):
            axis = int(rng.integers(1, rank)) - int(pick(rng, (0, rank)))
            for kind, fields in _with_axis(rng, axis, axis % rank, rank):
                yield _on(rng, rank, kind, fields)
            yield _pair(rng, rank, "Concat", {"concat_param": {"axis": axis}})
            yield _pair(rng, rank, "Eltwise", {"eltwise_param": {"operation": Word(pick(rng, ("SUM", "PROD", "MAX")))}})
    for _ in range(12):
        yield _on(rng, 2, "Normalize", {"norm_param": {"across_spatial": pick(rng, (True, False))}})
        yield _on(rng, 3, "Permute", {"permute_param": {"order": [0, 2, 1]}})
        yield _on(rng, 5, "Permute", {"permute_param": {"order": [0, *(int(axis) for axis in rng.permutation(4) + 1)]}})


def _with_axis(rng: Rng, axis: int, place: int, rank: int) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Softmax", {"softmax_param": {"axis": axis}}
    yield "Tile", {"tile_param": {"axis": axis, "tiles": 2}}
    yield "Flatten", {"flatten_param": {"axis": axis}}
    yield (
        "Reduction",
        {"reduction_param": {"axis": axis, "operation": Word(pick(rng, ("SUM", "MEAN", "ASUM", "SUMSQ")))}},
    )
    yield "InnerProduct", {"inner_product_param": {"axis": axis, "num_output": 3}}
    count = pick(rng, (-1, *range(rank - place + 1)))
    yield "Scale", {"scale_param": {"axis": axis, "num_axes": count, "bias_term": pick(rng, (True, False))}}
    yield "Bias", {"bias_param": {"axis": axis, "num_axes": count}}


def _start(rng: Rng, rank: int) -> tuple[tuple[int, int, int], list[Layer]]:
    shape = int(pick(rng, (1, 2, 3))), int(rng.integers(1, 4)), 2 * int(rng.integers(1, 3))
    return shape, [Layer("Reshape", "x", ["data"], ["x"], {"reshape_param": {"shape": {"dim": _SHAPES[rank]}}})]


def _on(rng: Rng, rank: int, kind: str, fields: dict[str, Any]) -> Net:
    shape, before = _start(rng, rank)
    return single(kind, shape, fields, bottoms=["x"], before=[*before, same("z", "x")][: 1 + (kind == "Tile")])


def _pair(rng: Rng, rank: int, kind: str, fields: dict[str, Any]) -> Net:
    shape, before = _start(rng, rank)
    return single(kind, shape, fields, bottoms=["x", "b"], before=[*before, same("b", "x")])


GRID = {"other ranks": other_ranks}
