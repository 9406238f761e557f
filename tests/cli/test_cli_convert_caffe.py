"""``convert`` to Caffe and back: bit-equal weights, parity, and nothing delivered that is not proved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import pytest
from commands import invoke
from onnx import helper, numpy_helper
from parameters import parameter_count

from trunkline.export.formats import caffe_files
from trunkline.export.formats.caffe_files import export_caffe
from trunkline.graph.graph import Graph, array_of, attribute
from trunkline.ingest.caffemodel.write import write_caffemodel
from trunkline.ingest.prototxt.writer import CaffeNet
from trunkline.ingest.read import read

pytestmark = pytest.mark.golden

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SMALL = ("--input-size", "32,48", "--parity-inputs", "1")


def weights(graph: Graph) -> list[tuple[bytes, ...]]:
    """The bits of all weights, in the order in which nodes read them."""

    def of(node: Any) -> Iterator[bytes]:
        for value in node.inputs[1:]:
            if value is not None and value.is_initializer() and value.dtype.is_floating_point():
                yield array_of(value).tobytes()

    with_weights = ("Conv", "ConvTranspose", "Gemm", "BatchNormalization", "PRelu")
    return [tuple(of(node)) for node in graph.nodes if node.op_type in with_weights]


@pytest.mark.parity
def test_zoo_to_caffe_to_onnx() -> None:
    """The same network as prototxt with caffemodel and as ONNX: bit-equal weights."""
    assert invoke("convert", "zoo:tiny", "a.onnx", *SMALL).code == 0
    said = invoke("convert", "a.onnx", "b.prototxt", "--parity-inputs", "2", "--json")
    assert said.code == 0, said.err
    assert said.json["parity"]["passed"]
    assert said.json["file_bytes"] == sum(Path(name).stat().st_size for name in ("b.prototxt", "b.caffemodel"))
    assert invoke("convert", "b.prototxt", "c.onnx", "--weights", "b.caffemodel", "--parity-inputs", "1").code == 0
    first, second, third = read("a.onnx"), read("b.prototxt", weights="b.caffemodel"), read("c.onnx")
    assert weights(first) == weights(second) == weights(third)
    assert len(weights(first)) > 20


@pytest.mark.parity
@pytest.mark.parametrize("name", ["squeezenet", "inception_v1"])
def test_light_networks_pass_through_caffe(name: str, tmp_path: Path) -> None:
    """The onnx package's small ones."""
    _check_light(name, tmp_path)


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize("name", ["bvlc_alexnet", "densenet121", "resnet50", "vgg19", "zfnet512"])
def test_large_networks_pass_through_caffe(name: str, tmp_path: Path) -> None:
    """The onnx package's large ones."""
    _check_light(name, tmp_path)


def _check_light(name: str, folder: Path) -> None:
    graph = read(LIGHT / f"light_{name}.onnx")
    result, _ = export_caffe(graph, folder / "net.prototxt", parity_inputs=1)
    assert result.parity.passed
    back = read(folder / "net.prototxt", weights=folder / "net.caffemodel")
    assert weights(back) == weights(graph)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["shufflenet", "inception_v2"])
def test_averages_without_padding_need_a_fork(name: str) -> None:
    """Caffe's own average counts padding; the note says which fork has the one that these networks need."""
    said = invoke("convert", LIGHT / f"light_{name}.onnx", "net.prototxt", "--parity-inputs", "1")
    assert said.code == 0, said.err
    assert "AVE_EXC_PAD was written, which the Synopsys fork of Caffe has" in said.err
    assert weights(read("net.prototxt", weights="net.caffemodel")) == weights(read(LIGHT / f"light_{name}.onnx"))


@pytest.mark.parity
@pytest.mark.parametrize("name", ["mobilenetv2", "mnasnet", "deeplab_resnet34"])
def test_the_zoo_passes_through_caffe(name: str, tmp_path: Path) -> None:
    """All of it."""
    graph = read(f"zoo:{name}", input_size=(32, 64))
    result, _ = export_caffe(graph, tmp_path / "net.prototxt", parity_inputs=1)
    back = read(tmp_path / "net.prototxt", weights=tmp_path / "net.caffemodel")
    assert weights(back) == weights(graph)
    assert [attribute(node, "momentum") for node in back.nodes] == [attribute(node, "momentum") for node in graph.nodes]
    assert result.parameters == parameter_count(graph)


def test_folding_leaves_no_batch_norm() -> None:
    said = invoke("convert", "zoo:tiny", "folded.prototxt", *SMALL, "--fold")
    assert said.code == 0, said.err
    assert "BatchNorm" not in Path("folded.prototxt").read_text()


def test_operators_caffe_lacks_are_named(tmp_path: Path) -> None:
    """All of them at once."""
    nodes = [helper.make_node(op, [a], [b], name=b) for op, a, b in (("Softsign", "x", "p"), ("Sin", "p", "y"))]
    _save(nodes, "odd.onnx")
    Path("net.caffemodel").write_bytes(b"precious")
    said = invoke("convert", "odd.onnx", "net.prototxt")
    assert said.code == 2
    assert '"p": Softsign cannot be written' in said.err
    assert '"y": Sin cannot be written' in said.err
    assert Path("net.caffemodel").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.caffemodel", "odd.onnx"]


def _save(nodes: Sequence[onnx.NodeProto], name: str) -> None:
    x = helper.make_tensor_value_info("x", 1, ("N", 3, 8, 8))
    y = helper.make_tensor_value_info("y", 1, ("N", 3, 8, 8))
    w = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    stored = [w] if any("w" in node.input for node in nodes) else []
    graph = helper.make_graph(list(nodes), "odd", [x], [y], stored)
    Path(name).write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    )


def test_wrong_files_are_not_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit of one weight is wrong on disk: there is no file then."""

    def faulty(net: CaffeNet, file: BinaryIO) -> None:
        write_caffemodel(net, file)
        file.seek(-4, 2)
        file.write(b"\x01\0\x80\x3f")

    monkeypatch.setattr(caffe_files, "write_caffemodel", faulty)
    _save([helper.make_node("Conv", ["x", "w"], ["y"], name="y")], "one.onnx")
    said = invoke("convert", "one.onnx", "net.prototxt", "--parity-inputs", "1")
    assert said.code == 3
    assert 'weight "w" came back with other bits' in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["one.onnx"]


def test_equal_commands_write_equal_bytes() -> None:
    for name in ("a", "b"):
        assert invoke("convert", "zoo:tiny", f"{name}.prototxt", *SMALL).code == 0
    assert Path("a.caffemodel").read_bytes() == Path("b.caffemodel").read_bytes()
    assert Path("a.prototxt").read_bytes() == Path("b.prototxt").read_bytes()


def test_notes_reach_the_command_line() -> None:
    """Of missing weights too."""
    assert invoke("convert", "zoo:tiny", "t.prototxt", *SMALL).code == 0
    text = Path("t.prototxt").read_text()
    Path("t.prototxt").write_text(text.replace('name: "conv1"', 'name: "first"'))
    arguments = ("convert", "t.prototxt", "t.onnx", "--weights", "t.caffemodel", "--parity-inputs", "1")
    said = invoke(*arguments)
    assert said.code == 2
    assert '1 of 75 weights are missing: "first.weight"' in said.err
    assert 'not used are "conv1"' in said.err
    said = invoke(*arguments, "--allow-missing")
    assert said.code == 0, said.err
    assert "start as the network says" in said.err


def test_weight_limits_are_raised_by_name() -> None:
    """As the error says."""
    assert invoke("convert", "zoo:tiny", "t.prototxt", *SMALL).code == 0
    arguments = ("convert", "t.prototxt", "t.onnx", "--weights", "t.caffemodel", "--parity-inputs", "1")
    said = invoke(*arguments, "--allow", "file_bytes=100000")
    assert said.code == 2
    assert "t.caffemodel: holds" in said.err
    assert "--allow file_bytes=" in said.err
