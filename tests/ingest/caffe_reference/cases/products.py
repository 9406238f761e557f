"""InnerProduct, Scale and Bias."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from caffe_reference.cases.parts import Rng, dense, image, pick, same, single
from caffe_reference.net import Layer, Net

FLAGS = ({}, {"bias_term": False}), ({}, {"transpose": True}, {"transpose": False})


def inner_product(rng: Rng) -> Iterator[Net]:
    for bias, transpose, axis, _ in product(*FLAGS, (None, 1, -3), range(4)):
        yield _dense(rng, {**bias, **transpose}, axis, ())
    for bias, transpose, axis in product(*FLAGS, (None, 1, -1)):
        yield _dense(rng, {**bias, **transpose}, axis, [dense("rows", 4)])


def inner_product_of_lines(rng: Rng) -> Iterator[Net]:
    for bias, transpose, axis, _ in product(*FLAGS, (2, 3, -1, -2), range(2)):
        yield _dense(rng, {**bias, **transpose}, axis, ())


def _dense(rng: Rng, flags, axis, before) -> Net:
    fields = {"num_output": int(rng.integers(1, 6)), **flags}
    fields = fields if axis is None else {**fields, "axis": axis}
    bottom = before[-1].tops[0] if before else "data"
    shape = image(rng, 1, 4)
    return single("InnerProduct", shape, {"inner_product_param": fields}, bottoms=[bottom], before=before)


def _affine(kind: str, param: str):
    def draw(rng: Rng) -> Iterator[Net]:
        biases = ({}, {"bias_term": True}, {"bias_term": False}) if kind == "Scale" else ({},)
        for axis, count, bias in product((None, 1, 2, 3, -1, -2, -3), (None, 0, 1, 2, 3, -1), biases):
            fields = {"axis": axis, "num_axes": count, **bias}
            fields = {name: value for name, value in fields.items() if value is not None}
            yield single(kind, image(rng), {param: fields} if fields else {})
        for _ in range(20):
            bottom = dense("rows", int(rng.integers(1, 6)))
            yield single(kind, image(rng), {param: dict(pick(rng, biases))}, bottoms=["rows"], before=[bottom])
        for _ in range(80):
            yield _computed(rng, kind, param)

    return draw


def _computed(rng: Rng, kind: str, param: str) -> Net:
    """The factor is another blob, of the input's first axes, the batch included."""
    shape = image(rng)
    gate = dense("b", shape[0])
    flat = {"flatten_param": {"axis": 2}}
    rows, line = Layer("Flatten", "rows", ["data"], ["rows"], flat), Layer("TanH", "b", ["rows"], ["b"])
    data, before = pick(rng, (("data", [gate]), ("data", [same("b")]), ("rows", [rows, line]), ("rows", [rows, gate])))
    axis = pick(rng, (0, -4 if data == "data" else -3))
    return single(kind, shape, {param: {"axis": axis}}, bottoms=[data, "b"], before=before)


GRID = {
    "InnerProduct": inner_product,
    "InnerProduct from axis 2 or 3": inner_product_of_lines,
    "Scale": _affine("Scale", "scale_param"),
    "Bias": _affine("Bias", "bias_param"),
}
