"""The packaged backbones are what their papers say, and what their script writes."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from trunkline.errors import InvalidModel
from trunkline.graph.graph import Graph, attribute, shape_of
from trunkline.graph.verify import verify
from trunkline.ingest import zoo
from trunkline.ingest.prototxt import read_prototxt
from trunkline.ingest.zoo import make, tables


def parameters(graph: Graph) -> int:
    weights = (item for item in graph.initializers.items() if item[1].dtype.is_floating_point())
    return sum(math.prod(v.shape) for name, v in weights if not name.endswith((".mean", ".var", ".min", ".max")))


def read(name: str) -> Graph:
    return verify(read_prototxt(zoo.path(name)))


def structure(graph: Graph) -> list:
    """What a network computes, names and file apart."""
    index = {graph.input: -1} | {node.outputs[0]: i for i, node in enumerate(graph.nodes)}
    return [
        (
            node.op_type,
            sorted(index.get(value, tuple(value.shape)) for value in node.inputs if value in index),
            [tuple(value.shape) for value in node.inputs if value not in index],
            {name: attribute(node, name) for name in sorted(node.attributes)},
        )
        for node in graph.nodes
    ]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "count", "output", "convolutions"),
    [
        ("deeplab_resnet34", 21_284_672, (None, 512, 28, 28), 36),
        ("mobilenetv2", 2_223_872, (None, 1280, 7, 7), 52),
        ("mnasnet", 3_102_312, (None, 1280, 7, 7), 52),
        ("tiny", 120_944, (None, 48, 16, 24), 15),
    ],
)
def test_backbones(name: str, count: int, output: tuple, convolutions: int) -> None:
    graph = read(name)
    assert parameters(graph) == count
    assert [shape_of(value) for value in graph.outputs] == [output]
    assert sum(node.op_type == "Conv" for node in graph.nodes) == convolutions


@pytest.mark.golden
def test_deeplab_dilates_two_stages() -> None:
    dilations = Counter(
        attribute(node, "dilations")[0] for node in read("deeplab_resnet34").nodes if node.op_type == "Conv"
    )
    assert dilations == {1: 18, 2: 12, 4: 6}


@pytest.mark.golden
def test_mobilenetv2_clips_at_six() -> None:
    ops = Counter(node.op_type for node in read("mobilenetv2").nodes)
    assert (ops["Clip"], ops["Relu"], ops["Add"]) == (35, 0, 10)


@pytest.mark.parity
@pytest.mark.parametrize(("ours", "released"), [("mnasnet", "mnasnet"), ("mobilenetv2", "mobilenetv2")])
def test_structure_of_the_released_files(shared_data: Path, ours: str, released: str) -> None:
    theirs = read_prototxt(shared_data / "prototxt" / f"{released}.prototxt")
    expected = [(op, *rest) for op, *rest in structure(theirs)]
    found = [
        ("Relu", inputs, [], rest) if op == "Clip" else (op, inputs, weights, rest)
        for op, inputs, weights, rest in structure(read(ours))
    ]
    assert found == expected


@pytest.mark.parity
def test_deeplab_has_the_released_convolutions(shared_data: Path) -> None:
    theirs = read_prototxt(shared_data / "prototxt" / "deeplab_resnet34_adashare.prototxt", input_size=(224, 224))
    settings = [
        sorted(
            (tuple(node.inputs[1].shape), *(str(attribute(node, name)) for name in ("strides", "pads", "dilations")))
            for node in graph.nodes
            if node.op_type == "Conv"
        )
        for graph in (theirs, read("deeplab_resnet34"))
    ]
    assert settings[0] == settings[1]


@pytest.mark.golden
def test_script_writes_the_packaged_files(tmp_path: Path) -> None:
    make.main(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {zoo.path(name).name: zoo.path(name).read_bytes() for name in zoo.names()}


@pytest.mark.golden
def test_every_table_is_packaged() -> None:
    assert zoo.names() == sorted(net.name for net in tables.NETS)


@pytest.mark.abuse
def test_unknown_backbone() -> None:
    with pytest.raises(InvalidModel, match='did you mean "mobilenetv2"'):
        zoo.path("mobilenet_v2")
    with pytest.raises(InvalidModel, match="there is no packaged backbone"):
        zoo.path("../tiny")
