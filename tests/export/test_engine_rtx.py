"""A compiler of TensorRT's family takes what we write: every head, every method, in each precision.

It is TensorRT-RTX, which needs no GPU.

And the builder of engines calls functions that are really there: it runs here with TensorRT-RTX in TensorRT's place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from backbones import BACKBONES
from commands import invoke, refused
from documented_json import check_keys, only_json
from method_work import NETWORKS, TASKS, ShakenWork, method_for, setup_for, shaken_weights
from plans import light_heads

from trunkline.errors import InvalidConfig, WorkFailed
from trunkline.export.engine.build import build_plan
from trunkline.export.engine.options import EngineOptions
from trunkline.export.engine.rtx import compile_check
from trunkline.export.engine.size_range import SizeRange
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.export.precision.half_file import export_half
from trunkline.export.precision.int8 import Activations, Int8Settings, find_ranges
from trunkline.export.precision.int8_file import export_int8
from trunkline.export.weights import Weights
from trunkline.fragments.heads.make_head import head_kinds, make_head
from trunkline.graph.graph import Graph, shape_of
from trunkline.ingest.read import read
from trunkline.sharing.layouts.plans import all_shared
from trunkline.sharing.lowering.lower import lower
from trunkline.supermodel.methods.registry import methods

needs_rtx = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)
OPTIONS = EngineOptions(SizeRange(1, 2, 4))
Writer = Callable[[Graph, Weights | None, Path], Path]


def written(graph: Graph, weights: Weights | None, path: Path) -> Path:
    return write_onnx(graph, path, weights=weights, fold=True)


def not_folded(graph: Graph, weights: Weights | None, path: Path) -> Path:
    return write_onnx(graph, path, weights=weights, fold=False)


def half(precision: str) -> Writer:
    return lambda graph, weights, path: (
        export_half(graph, weights, path, precision=precision, parity_inputs=1).result.path
    )


def int8(activations: Activations) -> Writer:
    def write(graph: Graph, weights: Weights | None, path: Path) -> Path:
        shape = tuple(int(size) for size in shape_of(graph.input)[1:])
        images = np.random.default_rng(0).standard_normal((4, 1, *shape)).astype(np.float32)
        source = written(graph, weights, path.with_name("float32.onnx"))
        ranges = find_ranges(source, images, Int8Settings(activations=activations))
        return export_int8(ranges, path, (), [*images]).path

    return write


PRECISIONS: Mapping[str, Writer] = {
    "float32": written,
    "float16": half("float16"),
    "bfloat16": half("bfloat16"),
    "int8": int8("signed"),
}


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    backbone = BACKBONES["residual"]()
    lowered = lower(all_shared(backbone, TASKS), backbone, light_heads(backbone))
    return write_onnx(lowered.graph, tmp_path / "shared.onnx", fold=True)


def foreign(path: Path) -> Path:
    """A node that no TensorRT knows."""
    make = onnx.helper
    x = make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])
    y = make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])
    graph = make.make_graph([make.make_node("Fancy", ["x"], ["y"], name="odd", domain="my.own")], "g", [x], [y])
    opsets = [make.make_opsetid("", 18), make.make_opsetid("my.own", 1)]
    onnx.save(make.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.golden
@needs_rtx
def test_our_model_is_taken(shared: Path) -> None:
    content = only_json(invoke("engine", shared, "--check", "--batch", "1,2,4", "--json"))
    check_keys("engine", content)
    check = content["check"]
    assert check["accepted"] and not check["problems"]
    assert check["layers"] >= len(onnx.load(shared).graph.node) / 2
    assert check["engine_bytes"] > 1000
    assert content["engine"] is None
    assert [file.name for file in shared.parent.iterdir()] == ["shared.onnx"]


@pytest.mark.abuse
@needs_rtx
def test_what_is_refused_is_told(tmp_path: Path) -> None:
    """In the parser's own words, and with exit code 3."""
    said = invoke("engine", foreign(tmp_path / "odd.onnx"), "--check")
    assert said.code == 3
    assert "REFUSED by TensorRT-RTX" in said.out
    assert "odd.onnx: Fancy" in said.out
    assert not compile_check(tmp_path / "odd.onnx").accepted


@pytest.mark.abuse
@needs_rtx
def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"junk" * 100)
    refused(invoke("engine", tmp_path / "bad.onnx", "--check"), "bad.onnx: it is no ONNX model")
    (tmp_path / "bad.onnx").write_bytes(b"")  # a model without anything, to protobuf
    said = invoke("engine", tmp_path / "bad.onnx", "--check")
    assert (said.code, "at least one output" in said.out) == (3, True)


@pytest.mark.abuse
@needs_rtx
def test_unknown_sizes_are_asked_for(shared: Path) -> None:
    with pytest.raises(InvalidConfig, match='no input has a free axis "width"'):
        compile_check(shared, EngineOptions(sizes={"width": SizeRange()}))


@pytest.mark.golden
@needs_rtx
@pytest.mark.filterwarnings("ignore:.*iming cache.*:DeprecationWarning")
def test_the_builder_calls_what_there_is(shared: Path) -> None:
    """All but what TensorRT-RTX has left out of TensorRT: its levels of hardware, and its timing cache is empty."""
    import tensorrt_rtx

    options = EngineOptions(SizeRange(1, 2, 4), workspace_bytes=2**28, level=2)
    plan = build_plan(tensorrt_rtx, shared, options, shared.with_name("timing.cache"))
    assert len(plan) > 1000
    assert shared.with_name("timing.cache").is_file()
    again = build_plan(tensorrt_rtx, shared, options, shared.with_name("timing.cache"))
    assert len(again) == pytest.approx(len(plan), rel=0.1)
    with pytest.raises(WorkFailed, match=r"odd\.onnx: Fancy"):
        build_plan(tensorrt_rtx, foreign(shared.with_name("odd.onnx")), options, shared.with_name("timing.cache"))


@pytest.mark.abuse
@needs_rtx
def test_unsigned_numbers_are_for_processors(tmp_path: Path) -> None:
    """A stated limit: biases in 32-bit integers, and zero points that are not 0."""
    backbone = BACKBONES["chain"]()
    graph = lower(all_shared(backbone, TASKS), backbone, light_heads(backbone)).graph
    said = invoke("engine", int8("unsigned")(graph, None, tmp_path / "int8.onnx"), "--check")
    assert said.code == 3
    assert "DequantizeLinear" in said.out and "Int32" in said.out
    assert compile_check(int8("signed")(graph, None, tmp_path / "int8.onnx")).accepted


@pytest.mark.abuse
def test_rtx_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    refused(invoke("engine", shared, "--check"), "TensorRT-RTX cannot be imported", "trunkline[rtx]", code=3)


@pytest.mark.slow
@pytest.mark.properties
@needs_rtx
@pytest.mark.parametrize("kind", [*head_kinds()])
def test_every_head_is_taken(kind: str, tmp_path: Path) -> None:
    backbone = read("zoo:tiny")
    if head_kinds()[kind].reads_all:
        backbone = read("zoo:tiny", features=("stage1_block1_relu2", "stage3_block1_relu2"))
    heads = {task: make_head(kind, backbone, channels) for task, channels in (("depth", 1), ("seg", 13))}
    lowered = lower(all_shared(backbone, [*heads]), backbone, heads)
    assert not refusals(lowered.graph, None, tmp_path, {**PRECISIONS, "not folded": not_folded})


@pytest.mark.slow
@pytest.mark.properties
@needs_rtx
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", [*methods()])
def test_every_method_is_taken(name: str, network: str, tmp_path: Path) -> None:
    """What each method delivers, as the exporters write it."""
    setup = setup_for(network)
    found = method_for(name, setup, tmp_path).find(ShakenWork(setup))
    lowered = lower(found.plan, setup.backbone, setup.heads)
    assert not refusals(lowered.graph, shaken_weights(lowered), tmp_path, PRECISIONS)


def refusals(graph: Graph, weights: Weights | None, folder: Path, writers: Mapping[str, Writer]) -> dict[str, object]:
    """What TensorRT-RTX refuses, by how it was written."""
    checks = {name: compile_check(write(graph, weights, folder / "m.onnx"), OPTIONS) for name, write in writers.items()}
    return {name: check.problems for name, check in checks.items() if not check.accepted}
