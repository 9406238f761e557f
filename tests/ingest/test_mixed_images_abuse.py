"""Abuse: files that let the images of a batch influence each other, hidden in merges, tables and sizes, are refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import image, model, run, save, tensor, weight

from trunkline.errors import InvalidModel
from trunkline.graph.graph import shape_of
from trunkline.ingest.read import read

pytestmark = pytest.mark.abuse

node = helper.make_node
Parts = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]

_TRIALS = re.compile(r"(?<!\d)(97|101)(?!\d)|\b(9797|10201|6208|6464)\b")
"""The numbers of images that the reader tries, and what they give with 64 pixels."""


def refused(proto: onnx.ModelProto, folder: Path) -> InvalidModel:
    """Read a file that must be refused, by a message that names no trial batch."""
    with pytest.raises(InvalidModel) as caught:
        read(save(proto, folder))
    assert not _TRIALS.search(str(caught.value).replace(str(folder), ""))
    return caught.value


TOKENS = [node("Reshape", ["x", "rows"], ["t"])]
"""All pixels of all images one below the other: ``[N·64, 3]``; each image's pixels lie together."""
_ROWS = [tensor("rows", [-1, 3])]
_WHOLE = [tensor("whole", [-1, 64, 3])]
_COUNT = [node("Shape", ["x"], ["count"], start=0, end=1)]
_RANGE = [
    *_COUNT,
    node("Squeeze", ["count"], ["n"]),
    node("Range", ["zero", "n", "one"], ["range"]),
]
_NUMBERS = [tensor("zero", 0), tensor("one", 1)]


def merged(*nodes: onnx.NodeProto, stored: tuple[onnx.TensorProto, ...] = ()) -> Parts:
    return [*TOKENS, *nodes, node("Reshape", ["u", "whole"], ["y"])], [*_ROWS, *_WHOLE, *stored]


MERGED: dict[str, Parts] = {
    "softmax": merged(node("Softmax", ["t"], ["u"], axis=0, name="bad")),
    "mean subtracted": merged(
        node("ReduceMean", ["t", "along"], ["m"], name="bad"),
        node("Sub", ["t", "m"], ["u"]),
        stored=(tensor("along", [0]),),
    ),
    "cumulative sum": merged(node("CumSum", ["t", "along"], ["u"], name="bad"), stored=(tensor("along", 0),)),
    "layer normalisation": merged(
        node("Transpose", ["t"], ["turned"], perm=[1, 0]),
        node("LpNormalization", ["turned"], ["v"], axis=1, name="bad"),
        node("Transpose", ["v"], ["u"], perm=[1, 0]),
    ),
    "gram matrix": merged(
        node("Transpose", ["t"], ["turned"], perm=[1, 0]),
        node("MatMul", ["turned", "t"], ["gram"], name="bad"),
        node("MatMul", ["t", "gram"], ["u"]),
    ),
    "shifted rows": merged(
        node("Slice", ["t", "one", "end", "zero"], ["tail"], name="bad"),
        node("Slice", ["t", "zero", "one", "zero"], ["head"]),
        node("Concat", ["tail", "head"], ["u"], axis=0),
        stored=(tensor("zero", [0]), tensor("one", [1]), tensor("end", [2**31])),
    ),
    "padded rows": merged(node("Pad", ["t", "pads"], ["u"], name="bad"), stored=(tensor("pads", [1, 0, -1, 0]),)),
    "row of images": merged(
        node("Reshape", ["t", "image"], ["i"], name="bad"),
        node("MaxPool", ["i"], ["p"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Reshape", ["p", "rows"], ["u"]),
        stored=(tensor("image", [1, 3, -1, 8]),),
    ),
    "other windows": merged(
        node("Reshape", ["t", "wide"], ["w"], name="bad"),
        node("Transpose", ["w"], ["v"], perm=[1, 0, 2]),
        node("Reshape", ["v", "rows"], ["u"]),
        stored=(tensor("wide", [64, -1, 3]),),
    ),
}


@pytest.mark.parametrize("name", MERGED)
def test_mixing_on_a_merged_axis_is_refused(name: str, tmp_path: Path) -> None:
    nodes, stored = MERGED[name]
    assert any(place.endswith("bad") for place in places(refused(model(nodes, initializers=stored), tmp_path)))


def places(error: InvalidModel) -> list[str]:
    return [problem.place for problem in error.problems]


def tables(*nodes: onnx.NodeProto, stored: tuple[onnx.TensorProto, ...] = ()) -> Parts:
    """A table of rows made of the images' numbers, and a Gather of one row of all pixels by it."""
    gather = [node("Reshape", ["x", "flat"], ["f"]), node("Gather", ["f", "table"], ["g"], name="bad")]
    return [*_RANGE, *nodes, *gather], [*_NUMBERS, tensor("flat", [-1]), *stored]


_PIXELS = tensor("pixels", np.arange(192).reshape(1, 3, 8, 8))
_AXES = tensor("axes", [1, 2, 3])
_STRIDE = tensor("stride", 192)


def strided(first: str, stride: str = "stride") -> list[onnx.NodeProto]:
    return [
        node("Mul", [first, stride], ["starts"]),
        node("Unsqueeze", ["starts", "axes"], ["wide"]),
        node("Add", ["wide", "pixels"], ["table"]),
    ]


_TABLE = (_PIXELS, _AXES, _STRIDE)
TABLES: dict[str, Parts] = {
    "backwards": tables(
        node("Sub", ["n", "one"], ["last"]), node("Sub", ["last", "range"], ["back"]), *strided("back"), stored=_TABLE
    ),
    "next image": tables(
        node("Add", ["range", "one"], ["next"]),
        node("Mod", ["next", "n"], ["turned"]),
        *strided("turned"),
        stored=_TABLE,
    ),
    "first image for all": tables(node("Mul", ["range", "zero"], ["first"]), *strided("first"), stored=_TABLE),
    "half a step": tables(*strided("range", "half"), stored=(*_TABLE, tensor("half", 96))),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_crosses_images_is_refused(name: str, tmp_path: Path) -> None:
    nodes, stored = TABLES[name]
    proto = model(nodes, initializers=stored, outputs=("g",))
    assert places(refused(proto, tmp_path))[0].endswith("bad")


def test_a_table_within_each_image_is_read(tmp_path: Path) -> None:
    """The same Gather by each image's own number: turned about, so that it is not dropped."""
    turned = tensor("pixels", np.arange(192)[::-1].reshape(1, 3, 8, 8))
    nodes, stored = tables(*strided("range"), stored=(turned, _AXES, _STRIDE))
    proto = model(nodes, initializers=stored, outputs=("g",))
    graph = read(save(proto, tmp_path))
    assert [shape_of(value) for value in graph.outputs] == [(None, 3, 8, 8)]
    from onnx_models import assert_close, to_proto

    for batch in (1, 3):
        x = image(batch, 3, 8, 8)
        assert_close(run(to_proto(graph), x), run(proto, x))


_FLOAT = node("Cast", ["count"], ["number"], to=TensorProto.FLOAT)
COUNTING: dict[str, Parts] = {
    "divided by the batch": ([*_COUNT, _FLOAT, node("Div", ["x", "number"], ["y"], name="bad")], []),
    "weight divided by the batch": (
        [*_COUNT, _FLOAT, node("Div", ["w", "number"], ["v"]), node("Add", ["x", "v"], ["y"], name="bad")],
        [weight("w", 1, 3, 1, 1)],
    ),
    "filled with the batch": (
        [
            *_COUNT,
            _FLOAT,
            node("Concat", ["count", "rest"], ["shape"], axis=0),
            node("Expand", ["number", "shape"], ["full"]),
            node("Add", ["x", "full"], ["y"], name="bad"),
        ],
        [tensor("rest", [1, 1, 1])],
    ),
    "numbered": (
        [
            *_RANGE,
            node("Cast", ["range"], ["number"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["number", "axes"], ["wide"]),
            node("Add", ["x", "wide"], ["y"], name="bad"),
        ],
        [*_NUMBERS, _AXES],
    ),
    "padded by the batch": (
        [*_COUNT, node("Concat", ["front", "count"], ["pads"], axis=0), node("Pad", ["x", "pads"], ["y"], name="bad")],
        [tensor("front", [0] * 7)],
    ),
    "cut by the batch": (
        [*_COUNT, node("Slice", ["x", "z", "count", "a"], ["y"], name="bad")],
        [tensor("z", [0]), tensor("a", [3])],
    ),
    "positions cut by the batch": (
        [
            *_COUNT,
            node("Slice", ["w", "z", "count", "z"], ["some"]),
            node("Add", ["x", "some"], ["y"], name="bad"),
        ],
        [weight("w", 500, 3, 1, 1), tensor("z", [0])],
    ),
    "a bound of the batch": (
        [*_COUNT, _FLOAT, node("Squeeze", ["number"], ["s"]), node("Clip", ["x", "", "s"], ["y"], name="bad")],
        [],
    ),
    "half of the batch": (
        [
            *_COUNT,
            node("Div", ["count", "two"], ["half"]),
            node("Mul", ["half", "two"], ["even"]),
            node("Sub", ["count", "even"], ["odd"]),
            node("Cast", ["odd"], ["number"], to=TensorProto.FLOAT),
            node("Add", ["x", "number"], ["y"], name="bad"),
        ],
        [tensor("two", [2])],
    ),
    "nothing at the batches that are tried": (
        [
            *_COUNT,
            node("Sub", ["count", "first"], ["a"]),
            node("Sub", ["count", "second"], ["b"]),
            node("Mul", ["a", "b"], ["c"]),
            node("Cast", ["c"], ["number"], to=TensorProto.FLOAT),
            node("Add", ["x", "number"], ["y"], name="bad"),
        ],
        [tensor("first", [97]), tensor("second", [101])],
    ),
    "at least two hundred": (
        [
            *_COUNT,
            node("Max", ["count", "least"], ["many"]),
            node("Concat", ["rest", "many"], ["shape"], axis=0),
            node("Expand", ["x", "shape"], ["y"], name="bad"),
        ],
        [tensor("least", [200]), tensor("rest", [1, 1, 1])],
    ),
    "as wide as the batch": (
        [
            *_COUNT,
            node("GlobalMaxPool", ["x"], ["p"]),
            node("Concat", ["count", "three", "count", "count"], ["shape"], axis=0),
            node("Expand", ["p", "shape"], ["y"], name="bad"),
        ],
        [tensor("three", [3])],
    ),
    "a square of the batch": (
        [
            *_COUNT,
            node("Concat", ["count", "count", "one1", "one1"], ["shape"], axis=0),
            node("ConstantOfShape", ["shape"], ["c"]),
            node("Add", ["x", "c"], ["y"], name="bad"),
        ],
        [tensor("one1", [1])],
    ),
    "repeated windows before images": (
        [
            node("GlobalMaxPool", ["x"], ["q"]),
            node("Tile", ["q", "times"], ["y"], name="bad"),
        ],
        [tensor("times", [4, 1, 1, 1])],
    ),
}


@pytest.mark.parametrize("name", COUNTING)
def test_arithmetic_on_batch_size_is_refused(name: str, tmp_path: Path) -> None:
    """What computes with the number of images is refused."""
    nodes, stored = COUNTING[name]
    shape = ("N", 3, 8, 1) if name == "at least two hundred" else ("N", 3, 8, 8)
    assert places(refused(model(nodes, initializers=stored, shape=shape), tmp_path))[0].endswith("bad")


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_batch_size_in_another_precision(kind: int, tmp_path: Path) -> None:
    """Such a file is brought to float32, and so is the number."""
    nodes = [*_COUNT, node("Cast", ["count"], ["number"], to=kind), node("Div", ["x", "number"], ["y"], name="bad")]
    proto = model(nodes, element=kind)
    proto.graph.output[0].type.tensor_type.elem_type = kind
    assert places(refused(proto, tmp_path))[0].endswith("bad")


@pytest.mark.parametrize("limit", [1, 4, 99, 500])
def test_choice_by_batch_size_is_refused(limit: int, tmp_path: Path) -> None:
    """Wherever the limit lies, be it the same for all batches that are tried."""
    branches = [
        helper.make_graph([node(op, ["x"], ["o"])], op, [], [helper.make_empty_tensor_value_info("o")])
        for op in ("Relu", "Neg")
    ]
    nodes = [
        *_COUNT,
        node("Greater", ["count", "limit"], ["many"]),
        node("If", ["many"], ["y"], then_branch=branches[0], else_branch=branches[1], name="bad"),
    ]
    error = refused(model(nodes, initializers=[tensor("limit", [limit])]), tmp_path)
    assert places(error)[0].endswith("bad")


OWN_BATCH: dict[str, Parts] = {
    "a constant for each": ([node("Add", ["x", "w"], ["y"], name="bad")], [weight("w", 3, 3, 1, 1)]),
    "a token for each": ([node("Concat", ["x", "w"], ["y"], axis=1, name="bad")], [weight("w", 3, 1, 8, 8)]),
    "a mask for each window": (
        [
            node("Reshape", ["x", "rows"], ["t"]),
            node("Add", ["t", "w"], ["u"], name="bad"),
            node("Reshape", ["u", "back"], ["y"]),
        ],
        [tensor("rows", [12, 2, 24]), weight("w", 12, 1, 1), tensor("back", [3, 3, 8, 8])],
    ),
    "a table that crosses": (
        [node("Reshape", ["x", "flat"], ["f"]), node("Gather", ["f", "table"], ["y"], name="bad")],
        [tensor("flat", [-1]), tensor("table", np.arange(576)[::-1].reshape(3, 3, 8, 8))],
    ),
}


@pytest.mark.parametrize("name", OWN_BATCH)
def test_constants_differing_by_image_are_refused(name: str, tmp_path: Path) -> None:
    """What a file of three images stores for each of them is refused if it differs."""
    nodes, stored = OWN_BATCH[name]
    assert places(refused(model(nodes, initializers=stored, shape=(3, 3, 8, 8)), tmp_path))[0].endswith("bad")
