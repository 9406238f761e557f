"""End to end: files with a free image size, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import invoke, pipeline, refused
from documented_json import check_keys, only_json
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.golden

SMALL = ("--tasks", "a:2", "--all-shared", "--input-size", "16,24", "--free-size", "--parity-inputs", "1")


def test_a_built_file_at_other_sizes() -> None:
    """It is measured, and read again."""
    content = only_json(invoke("build", "zoo:tiny", "m.onnx", *SMALL, "--head", "fpn", "--json"))
    check_keys("build", content)
    assert content["free_size"]["multiple"] == 1
    assert [each["size"] for each in content["free_size"]["parity"]] == content["free_size"]["sizes"][1:]
    seen = only_json(invoke("inspect", "m.onnx", "--input-size", "21,30", "--json"))
    assert seen["outputs"] == [{"name": "a", "shape": [None, 2, 11, 15]}]
    measured = invoke("bench", "m.onnx", "--input-size", "21,30", "--samples", "11", "--limit", "0.05", "--json")
    [model] = only_json(measured)["models"]
    assert (model["inputs"][0]["shape"], model["macs"]) == ([1, 3, 21, 30], seen["macs"])
    refused(invoke("inspect", "m.onnx"), "the image size is not fixed", "--input-size H,W")


def test_a_converted_file_says_its_sizes() -> None:
    said = invoke("convert", "zoo:tiny", "m.onnx", "--input-size", "16,24", "--free-size", "--parity-inputs", "1")
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == "image sizes: any; compared at 16x24, 21x33, 20x26, 11x15"
    content = only_json(invoke("convert", "m.onnx", "n.onnx", "--input-size", "16,24", "--free-size", "--json"))
    check_keys("convert", content)


def test_a_network_of_one_size_is_refused() -> None:
    nodes = [helper.make_node("Add", ["x", "p"], ["a"], name="places"), helper.make_node("Relu", ["a"], ["y"])]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.ones((1, 3, 8, 8), np.float32), "p")
    graph = helper.make_graph(nodes, "net", [image], [result], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), "in.onnx")
    refused(invoke("convert", "in.onnx", "out.onnx", "--free-size"), "in.onnx: places", "one image size")
    assert not Path("out.onnx").exists()


def test_only_float32_has_a_free_size(tmp_path: Path) -> None:
    changed = ("[export]\n", '[export]\nfree_size = true\nprecisions = ["float16"]\n')
    said = invoke("run", pipeline(tmp_path, changed), "--out", tmp_path / "run")
    refused(said, "export.precisions", "only float32 files")


@pytest.mark.slow
def test_a_run_delivers_a_free_file(tmp_path: Path) -> None:
    path = pipeline(tmp_path, ("[export]\n", "[export]\nfree_size = true\n"))
    content = only_json(invoke("run", path, "--out", tmp_path / "run", "--json"))
    check_keys("run", content)
    assert content["export"]["free_size"]["multiple"] == 1
    axes = onnx.load(tmp_path / "run" / "model.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in axes] == ["N", 3, "height", "width"]
    said = invoke("bundle", path, "--out", tmp_path / "run", "--to", tmp_path / "bundle", "--json")
    sides = only_json(said)["manifest"]["input"]
    assert (sides["height"], sides["width"]) == (32, 48)
    fixed = pipeline(tmp_path, name="fixed.toml")
    said = invoke("export", fixed, "--out", tmp_path / "run", "--model", tmp_path / "m.onnx", "--free-size", "--json")
    check_keys("export", json.loads(said.out))
    refused(invoke("export", fixed, "--out", tmp_path / "run", "--free-size", "--precision", "int8"), "only float32")
