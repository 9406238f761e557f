"""Operators that ONNX has withdrawn are read as what onnxruntime takes them for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from corpus_files import field
from onnx import helper
from onnx_models import assert_close, image, model, run, save, to_proto, weight

from trunkline.errors import InvalidModel, UnsupportedOp
from trunkline.ingest.read import read
from trunkline.verbs.inspect import inspect

CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("ImageScaler", {"scale": 2.0, "bias": [1.0, 2.0, 3.0]}, ["Mul", "Add"]),
    ("ImageScaler", {"bias": [1.0, 2.0, 3.0]}, ["Mul", "Add"]),
    ("Affine", {"alpha": 2.0, "beta": 1.0}, ["Mul", "Add"]),
    ("Affine", {}, ["Mul", "Add"]),
    ("Scale", {"scale": 2.0}, ["Mul"]),
    ("ParametricSoftplus", {"alpha": 2.0, "beta": 0.5}, ["Mul", "Softplus", "Mul"]),
    ("ScaledTanh", {"alpha": 2.0, "beta": 0.5}, ["Mul", "Tanh", "Mul"]),
    ("Crop", {"border": [1, 0, 2, 1]}, ["Slice"]),
    ("Crop", {"border": [1, 2, 0, 0], "scale": [3, 2]}, ["Slice"]),
]


def withdrawn(op: str, attributes: dict[str, Any], opset: int = 7) -> onnx.ModelProto:
    nodes = [helper.make_node(op, ["x"], ["s"], **attributes), helper.make_node("Conv", ["s", "w"], ["y"])]
    return model(nodes, initializers=[weight("w", 2, 3, 1, 1)], opset=opset)


@pytest.mark.parity
@pytest.mark.parametrize(("op", "attributes", "expected"), CASES)
def test_it_computes_what_onnxruntime_does(
    op: str, attributes: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    proto = withdrawn(op, attributes)
    graph = read(save(proto, tmp_path))
    x = image(2, 3, 8, 8)
    assert_close(run(to_proto(graph), x), run(proto, x))
    assert [node.op_type for node in graph.nodes] == [*expected, "Conv"]
    assert inspect(graph).stored.trainable == 6


@pytest.mark.parity
def test_file_of_a_public_report() -> None:
    """The file of a public report is read."""
    path = field("coreml_imagescaler")
    graph, x = read(path), image(1, 3, 32, 32)
    assert_close(run(to_proto(graph), x), run(onnx.load(path), x))
    assert inspect(graph).stored.trainable == 224


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("ImageScaler", {"bias": [1.0, 2.0]}, "a bias of 2 numbers"),
        ("ImageScaler", {"scale": 2, "bias": [1, 2, 3]}, r'attribute "bias"; expected are bias \(floats\)'),
        ("ScaledTanh", {}, "alpha and beta were expected"),
        ("Affine", {"alpha": "x"}, 'attribute "alpha"'),
        ("Crop", {"border": [1, 2, 3]}, r"border \[1, 2, 3\]"),
        ("Crop", {"border": [5, 0, 5, 0]}, "is empty"),
        ("Scale", {"size": 1.0}, 'attribute "size"'),
    ],
)
def test_unfit_attributes_are_refused(op: str, attributes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Attributes that do not fit are refused."""
    path = save(withdrawn(op, attributes), tmp_path)
    with pytest.raises(InvalidModel, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.abuse
@pytest.mark.parametrize("inputs", [["x", "x"], [""]])
def test_other_input_counts_are_refused(inputs: list[str], tmp_path: Path) -> None:
    """Another number of inputs than one is refused."""
    proto = withdrawn("Affine", {})
    proto.graph.node[0].input[:] = inputs
    with pytest.raises(InvalidModel, match="one input and one output"):
        read(save(proto, tmp_path))


@pytest.mark.abuse
def test_a_newer_opset_has_no_such_operator(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOp, match="ImageScaler: this operator is not supported"):
        read(save(withdrawn("ImageScaler", {"bias": [1.0] * 3}, opset=10), tmp_path))
