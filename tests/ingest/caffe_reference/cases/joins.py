"""Layers of several inputs or outputs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from caffe_reference.cases.parts import Rng, conv, dense, image, pick, same, single
from caffe_reference.net import Layer, Net, Word

KINDS = ("TanH", "Sigmoid", "AbsVal", "ReLU")


def eltwise(rng: Rng) -> Iterator[Net]:
    for operation, count, _ in product((None, "SUM", "PROD", "MAX"), (2, 3, 4), range(8)):
        before = [same(f"b{i}", kind=KINDS[i]) for i in range(count - 1)]
        bottoms = ["data", *(layer.name for layer in before)]
        if rng.random() < 0.2:
            bottoms[-1] = bottoms[0]
            before = before[:-1]
        fields = {} if operation is None else {"operation": Word(operation)}
        if operation in (None, "SUM") and rng.random() < 0.7:
            fields["coeff"] = [pick(rng, (1, -1, 0.5, 2, 0, -0.25)) for _ in range(count)]
        yield single("Eltwise", image(rng), {"eltwise_param": fields} if fields else {}, bottoms=bottoms, before=before)
    for coeff in product((1, -1, 0, 0.3), repeat=2):
        fields = {"operation": Word("SUM"), "coeff": list(coeff)}
        yield single("Eltwise", image(rng), {"eltwise_param": fields}, bottoms=["data", "b"], before=[same("b")])


def axis_fields(axis: int | str | None, old_name: str) -> dict[str, Any]:
    """Return the fields that give ``axis``: none, Caffe's old name for the channels, or ``axis``."""
    if axis == "dim":
        return {old_name: 1}
    return {} if axis is None else {"axis": axis}


def concat(rng: Rng) -> Iterator[Net]:
    for axis, count, _ in product((None, 1, 2, 3, -1, -2, -3, "dim"), (1, 2, 3, 4), range(3)):
        shape = image(rng, 3, 6)
        at = {None: 1, "dim": 1, -1: 3, -2: 2, -3: 1}.get(axis, axis)
        before = []
        for i in range(count - 1):
            if at == 1:
                before.append(conv(f"b{i}", int(rng.integers(1, 5))))
            else:
                kernel = (i % 3 + 1, 1) if at == 2 else (1, i % 3 + 1)
                before.append(conv(f"b{i}", shape[0], kernel))
        bottoms = [*(layer.name for layer in before), "data"]
        fields = axis_fields(axis, "concat_dim")
        yield single("Concat", shape, {"concat_param": fields} if fields else {}, bottoms=bottoms, before=before)


def cut(rng: Rng) -> Iterator[Net]:
    for axis, count, points in product((None, 1, 2, 3, -1, -2, -3, "dim"), (1, 2, 3, 4), (False, True)):
        at = {None: 1, "dim": 1, -1: 3, -2: 2, -3: 1}.get(axis, axis)
        sizes = [int(rng.integers(1, 5)) for _ in range(3)]
        sizes[at - 1] = count * int(rng.integers(1, 4))
        fields = axis_fields(axis, "slice_dim")
        if points and count > 1 and sizes[at - 1] >= count:
            chosen = rng.choice(sizes[at - 1] - 1, count - 1, replace=False) + 1
            fields["slice_point"] = sorted(int(point) for point in chosen)
        tops = [f"part{i}" for i in range(count)]
        shape = (sizes[0], sizes[1], sizes[2])
        fields = {"slice_param": fields} if fields else {}
        yield single("Slice", shape, fields, bottoms=["x"], tops=tops, before=[same("x")])


def split(rng: Rng) -> Iterator[Net]:
    for count, _ in product((1, 2, 3), range(4)):
        tops = [f"copy{i}" for i in range(count)]
        net = single("Split", image(rng), bottoms=["x"], tops=tops, before=[same("x")])
        after = [Layer(KINDS[i], f"y{i}", [top], [f"y{i}"]) for i, top in enumerate(tops)]
        yield Net(net.image, [*net.layers, *after])


def axpy(rng: Rng) -> Iterator[Net]:
    for form, _ in product(("rows", "map"), range(15)):
        shape = image(rng)
        before = [same("x"), same("y0", kind="Sigmoid")]
        pool = {"pooling_param": {"pool": Word("AVE"), "global_pooling": True}}
        first = dense("a", shape[0]) if form == "rows" else Layer("Pooling", "a", ["data"], ["a"], pool)
        yield single("Axpy", shape, bottoms=["a", "x", "y0"], before=[first, *before])


GRID = {"Eltwise": eltwise, "Concat": concat, "Slice": cut, "Split": split, "Axpy": axpy}
