"""Half precision written into the graph: float32 at the borders and on islands, and as exact as its roundings allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from agreement import relative, run_onnx
from backbones import BACKBONES, conv, two_taps
from cost_backbones import attention
from onnx import numpy_helper

from trunkline.errors import ParityFailure
from trunkline.export.formats.onnx_model import finished, write_onnx
from trunkline.export.parity.check import check_parity
from trunkline.export.precision.emulated import write_emulated
from trunkline.export.precision.half import HALF, LowerFloat
from trunkline.export.precision.half_file import check_half, export_half
from trunkline.export.provenance import PRECISION_KEY
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import TASKS_KEY, Graph, shape_of

pytestmark = pytest.mark.parity
NETS = {**BACKBONES, "two_taps": two_taps, "attention": attention}


def image_for(graph: Graph) -> torch.Tensor:
    return torch.randn(2, *shape_of(graph.input)[1:], generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def test_nodes_keep_what_they_say_of_themselves(tmp_path: Path) -> None:
    """ONNX's converter to the opset of bfloat16 drops whom a node serves."""
    b = GraphBuilder("owned")
    made = conv(b, b.image("image", (3, 4, 4)), "first", 2)
    graph = b.finish([made])
    graph.node("first").metadata_props[TASKS_KEY] = "depth,normals"
    for precision in HALF:
        path = export_half(graph, None, tmp_path / "m.onnx", precision=precision, parity_inputs=1).result.path
        node = next(node for node in onnx.load(path).graph.node if node.name == "first")
        assert {item.key: item.value for item in node.metadata_props} == {TASKS_KEY: "depth,normals"}


def lowered(graph: Graph, precision: str, *islands: str) -> onnx.ModelProto:
    model = finished(graph)
    LowerFloat(HALF[precision], frozenset(islands))(model.graph)
    return ir.to_proto(model)


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("name", NETS)
def test_half_file_computes_what_the_float_file_does(name: str, precision: str, tmp_path: Path) -> None:
    """To half precision; it is fed and read as the float32 file is, and no weight is stored in more."""
    graph = NETS[name]()
    export = export_half(graph, None, tmp_path / "half.onnx", precision=precision, parity_inputs=4)
    image = image_for(graph)
    write_emulated(export.result.path, tmp_path / "emulated.onnx")
    ours, theirs = (
        run_onnx(tmp_path / "emulated.onnx", image),
        run_onnx(write_onnx(graph, tmp_path / "full.onnx"), image),
    )
    # Products of two maps are beyond 65504 on bright images.
    overflows = name == "attention" and precision == "float16"
    assert list(ours) == list(theirs) and export.islands == (("scores", "softmax") if overflows else ())
    for key, found in ours.items():
        assert found.dtype == np.float32
        assert 0 < relative(found, theirs[key]) < {"float16": 1e-2, "bfloat16": 8e-2}[precision]
    if precision == "float16":
        # As a processor runs it: with fewer roundings.
        assert relative(run_onnx(export.result.path, image)[key], theirs[key]) < 1e-2
    proto = onnx.load(export.result.path)
    assert not [item.name for item in proto.graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    # One Cast of the image, one of each output: nothing between.
    assert [node.op_type for node in proto.graph.node].count("Cast") == 1 + len(ours) + 3 * bool(export.islands)
    assert {item.key: item.value for item in proto.metadata_props}[PRECISION_KEY] == precision


def test_bytes_follow_from_the_graph(tmp_path: Path) -> None:
    paths = [export_half(two_taps(), None, tmp_path / f"{n}.onnx", parity_inputs=1).result.path for n in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size < 0.7 * write_onnx(two_taps(), tmp_path / "full.onnx").stat().st_size


def overflowing() -> Graph:
    """The middle of it needs numbers beyond 65504."""
    b = GraphBuilder("large")
    x = conv(b, b.image("image", (3, 8, 8)), "first", 4)
    x = b.node("Mul", [x, b.tensor("up", np.asarray(3e4, np.float32))], name="large")
    x = b.node("Add", [x, b.tensor("more", np.asarray(6e4, np.float32))], name="larger")
    x = b.node("Mul", [x, b.tensor("down", np.asarray(1e-5, np.float32))], name="small")
    return b.finish([conv(b, x, "last", 2)])


def test_what_overflows_is_an_island(tmp_path: Path) -> None:
    export = export_half(overflowing(), None, tmp_path / "half.onnx", parity_inputs=8)
    assert set(export.islands) >= {"large", "larger"} and not {"first", "last"} & set(export.islands)
    proto = onnx.load(export.result.path)
    stored = {item.name: item for item in proto.graph.initializer}
    assert stored["up"].data_type == onnx.TensorProto.FLOAT
    assert numpy_helper.to_array(stored["first.weight.half"]).dtype == np.float16


def test_weights_too_large_for_the_type_stay() -> None:
    b = GraphBuilder("weights")
    x = b.node("Mul", [b.image("image", (3, 4, 4)), b.tensor("huge", np.asarray(1e6, np.float32))], name="scale")
    graph = b.finish([conv(b, x, "last", 2)])
    nodes = {node.name: node for node in lowered(graph, "float16").graph.node}
    assert list(nodes["scale"].input) == ["image", "huge"]
    assert nodes["last"].input[1] == "last.weight.half"


def test_wrong_half_file_is_located(tmp_path: Path) -> None:
    """A defect far larger than rounding, in one weight: the first node that is wrong is named."""
    graph = BACKBONES["residual"]()
    proto = lowered(graph, "float16")
    stored = next(item for item in proto.graph.initializer if item.name.startswith("a2.weight"))
    wrong = numpy_helper.to_array(stored).copy()
    wrong.flat[0] += np.float16(2)
    stored.CopyFrom(numpy_helper.from_array(wrong, stored.name))
    path = tmp_path / "wrong.onnx"
    onnx.save(proto, path)
    report = check_half(path, graph, None, "float16", inputs=4)
    assert not report.passed and report.divergence is not None
    assert report.divergence.node == "a2"
    with pytest.raises(ParityFailure, match="a2"):
        report.raise_if_failed()
    # A float32 file is not allowed what half precision is.
    onnx.save(lowered(graph, "float16"), path)
    assert check_half(path, graph, None, "float16", inputs=2).passed
    assert not check_parity(path, graph, inputs=2).passed


def test_islands_that_are_asked_for_stay() -> None:
    graph = BACKBONES["chain"]()
    proto = lowered(graph, "float16", "conv1")
    nodes = {node.name: node for node in proto.graph.node}
    assert nodes["conv1"].input[1] == "conv1.weight" and nodes["conv2"].input[1] == "conv2.weight.half"
    casts = [node for node in proto.graph.node if node.op_type == "Cast"]
    assert len(casts) == 4  # the image, into the island, out of it, the output
