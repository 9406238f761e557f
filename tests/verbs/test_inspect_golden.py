"""What ``inspect`` shows: which numbers train, which map heads would read, where the outputs lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from trunkline.cli.main import run
from trunkline.verbs.inspect import inspect

pytestmark = pytest.mark.golden


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run(["inspect", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def classifier(path: Path) -> Path:
    """Two convolutions of stride 2 with a coefficient between them, pooling, and a linear layer nobody reads."""
    rng = np.random.default_rng(0)
    stored = {"w0": (4, 3, 3, 3), "w1": (8, 4, 3, 3), "fc": (8, 5), "half": (1, 4, 1, 1), "unused": (3,)}
    tensors = [numpy_helper.from_array(rng.random(shape).astype(np.float32), name) for name, shape in stored.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="conv0", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Mul", ["a", "half"], ["b"], name="scale"),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="conv1", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("ReduceMean", ["r"], ["m"], name="pool", axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "fc"], ["y"], name="fc"),
        helper.make_node("Neg", ["y"], ["dead"], name="dead"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 16, 24])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_classifiers_show_what_heads_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The map before the classifier."""
    path = classifier(tmp_path / "c.onnx")
    lines = shown(capsys, str(path))
    assert lines[0] == "small: 440 parameters, 17,320 MACs an image"
    assert "  features  r  [N, 8, 4, 6], stride 4" in lines
    assert "  pyramid   b (stride 2), r (stride 4)" in lines
    assert "  numbers   440 train" in lines
    assert any(line.startswith("3 blocks; tasks may part before each of them") for line in lines)
    assert lines[-1] == "note: left out 1 nodes that no output needs"
    result = inspect(path)
    assert [found.stride for found in result.pyramid] == [2, 4]
    assert result.to_json()["features"] == [{"name": "r", "shape": [None, 8, 4, 6], "stride": 4}]


def test_taps_are_marked_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["stage1_block2_relu2", "stage3_block2_relu2"]
    lines = shown(capsys, "zoo:tiny", "--features", ",".join(names), "--input-size", "64,64")
    result = inspect("zoo:tiny", features=names, input_size=(64, 64))
    assert [list(gives) for gives in result.gives if gives] == [[name] for name in names]
    header = next(line for line in lines if line.startswith("#"))
    assert header.split()[-1] == "gives"
    row = result.gives.index((names[0],))
    assert any(line.startswith(f"{row} ") and line.rstrip().endswith(names[0]) for line in lines)


def test_a_network_without_maps_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = classifier(tmp_path / "c.onnx")
    lines = shown(capsys, str(path), "--input-size", "2,2")
    assert "  features  none: there is no map [N, C, H, W] that a head could read" in lines


def test_roles_of_numbers_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Statistics and constants apart from what trains."""
    result = inspect("zoo:tiny")
    assert result.stored.trainable == result.cost.parameters
    assert result.stored.statistics > 0
    assert result.stored.constants == 0
    assert f"{result.stored.statistics:,} running statistics" in "\n".join(shown(capsys, "zoo:tiny"))


def test_branching_points_are_where_tasks_may_part() -> None:
    result = inspect("zoo:deeplab_resnet34")
    assert result.branching_points == len(result.blocks) == 17
