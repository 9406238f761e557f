"""Golden: ``bench`` times whatever onnxruntime runs, at the sizes that were asked for, and says what it fed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import ROOT, Said, invoke, refused
from onnx import TensorProto, helper, numpy_helper

from trunkline.text import shape_text

pytestmark = pytest.mark.golden

QUICK = ("--samples", 11, "--limit", 0.05)
UNET = ROOT / "tests" / "corpus" / "field" / "bench_free_axes" / "unet_dynamic.onnx"

Shape = list[int | str | None]


def save(
    name: str,
    inputs: dict[str, Shape],
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    *,
    opset: int = 18,
    domain: str = "",
) -> None:
    """Write a file with one output ``y``."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, key) for key, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), name)


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def lines_of_text() -> None:
    """A reader of text lines: convolution, columns as time steps, LSTM; height fixed, width free."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["f"], strides=[8, 4]),
        helper.make_node("ReduceMean", ["f", "height"], ["c"], keepdims=0),
        helper.make_node("Transpose", ["c"], ["s"], perm=[2, 0, 1]),
        helper.make_node("LSTM", ["s", "wi", "wr"], ["y"], hidden_size=5),
    ]
    weights = {"w": weight(4, 1, 8, 4), "height": np.array([2]), "wi": weight(1, 20, 4), "wr": weight(1, 20, 5)}
    save("text.onnx", {"x": [1, 1, 64, "W"]}, nodes, weights)


def quantised() -> None:
    """A convolution between QuantizeLinear and DequantizeLinear, its image size free."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    weights = {"scale": np.float32(0.1), "zero": np.uint8(128), "w": weight(2, 3, 3, 3)}
    save("quantised.onnx", {"x": ["N", 3, "H", "W"]}, nodes, weights)


def two_inputs() -> None:
    """An image and a vector without names for its axes."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["f"]), helper.make_node("GlobalAveragePool", ["f"], ["g"])]
    nodes += [helper.make_node("Flatten", ["g"], ["v"]), helper.make_node("Concat", ["v", "extra"], ["y"], axis=1)]
    save("two.onnx", {"x": ["N", 3, "H", "W"], "extra": ["N", None]}, nodes, {"w": weight(2, 3, 3, 3)})


def foreign() -> None:
    """An operator that only onnxruntime knows."""
    nodes = [helper.make_node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft", activation="Relu")]
    save("foreign.onnx", {"x": ["N", 3, "H", "W"]}, nodes, {"w": weight(2, 3, 3, 3)}, domain="com.microsoft")


@pytest.mark.parametrize(
    ("make", "file", "options", "fed"),
    [
        (lines_of_text, "text.onnx", ("--input-size", "64,96"), [[1, 1, 64, 96]]),
        (lines_of_text, "text.onnx", ("--axis", "W=100"), [[1, 1, 64, 100]]),
        (quantised, "quantised.onnx", ("--input-size", "16,24", "--batch", 2), [[2, 3, 16, 24]]),
        (two_inputs, "two.onnx", ("--input-size", "16,24", "--axis", "extra:1=7"), [[1, 3, 16, 24], [1, 7]]),
        (foreign, "foreign.onnx", ("--axis", "H=16", "--axis", "W=24"), [[1, 3, 16, 24]]),
    ],
)
def test_files_that_are_not_read_are_measured(
    make: Callable[[Path], object], file: str, options: tuple[object, ...], fed: list[Shape]
) -> None:
    """Their MACs are unknown, which is not 0; everything else is there."""
    make()
    assert invoke("inspect", file).code == 2
    content = invoke("bench", file, *options, *QUICK, "--json").json
    (model,) = content["models"]
    assert [one["shape"] for one in model["inputs"]] == fed
    assert model["p50_ms"] > 0
    for key in ("macs", "backbone_macs", "head_macs", "macs_ratio", "bound_ms", "time_over_bound"):
        assert model[key] is None
    shown = invoke("bench", file, *options, *QUICK).out
    stem = file.removesuffix(".onnx")
    assert f"unknown: the MACs of {stem};" in shown
    row = next(line for line in shown.splitlines() if line.startswith(stem))
    assert row.count("unknown") == 2
    assert f"fed: {stem}: x {shape_text(fed[0])}" in shown


@pytest.mark.parametrize("options", [("--input-size", "32,48"), ("--axis", "H=32", "--axis", "W=48")])
def test_macs_count_at_the_size_measured(options: tuple[str, ...]) -> None:
    """Where the file leaves its size open."""
    content = invoke("bench", UNET, *options, *QUICK, "--json").json
    (model,) = content["models"]
    assert model["inputs"] == [{"name": "x", "shape": [1, 3, 32, 48], "type": "float32"}]
    assert model["macs"] == invoke("inspect", UNET, "--input-size", "32,48", "--json").json["macs"] > 0


def test_counts_need_no_counted_baseline() -> None:
    """A known count is told though that of the first model is not known."""
    quantised()
    said = invoke("bench", "quantised.onnx", UNET, "--input-size", "32,48", *QUICK, "--json")
    first, second = said.json["models"]
    assert (first["macs"], second["macs_ratio"], second["time_over_bound"]) == (None, None, None)
    assert second["macs"] > 0
    assert said.json["settings"]["input_size"] == [32, 48]


def test_eager_torch_takes_the_size_too() -> None:
    said = invoke("bench", UNET, "--input-size", "32,48", "--runtime", "torch", *QUICK, "--json")
    (model,) = said.json["models"]
    assert model["inputs"][0]["shape"] == [1, 3, 32, 48]
    assert model["macs"] > 0
    asked = invoke("bench", UNET, "--axis", "H=32", "--runtime", "torch", *QUICK)
    refused(asked, "--axis: torch runs", "--input-size H,W")


def refused_sizes(*options: object) -> Said:
    return invoke("bench", "two.onnx", *options, *QUICK)


def test_useless_and_missing_sizes_are_refused() -> None:
    """Each by its axis."""
    two_inputs()
    shutil.copy(UNET, "unet.onnx")
    refused(refused_sizes(), 'two.onnx: input "x" [N, 3, H, W]', "--input-size H,W", 'input "extra" [N, ?]', "extra:1")
    refused(refused_sizes("--input-size", "16"), '--input-size is "16"', "256,512")
    refused(refused_sizes("--axis", "H"), '--axis: "H" is not NAME=SIZE', "--axis x:3=320")
    refused(refused_sizes("--axis", "=3", "--axis", "a=0", "--axis", "b=x"), '"=3"', '"a=0"', '"b=x"')
    refused(refused_sizes("--axis", "H=3", "--axis", "H=4"), '"H" is 3 and 4')
    known = ("--input-size", "16,24", "--axis", "extra:1=7")
    refused(refused_sizes(*known, "--axis", "extra=7"), 'no model has an axis "extra"', 'did you mean "extra:1"?')
    refused(
        refused_sizes("--input-size", "2,2", "--axis", "extra:1=7"),
        "two.onnx: onnxruntime cannot run",
        "the sizes given",
    )
    other = invoke("bench", "two.onnx", "unet.onnx", *known, *QUICK)
    assert other.code == 0, other.err  # an axis need not be in every file


def test_image_sizes_need_an_image(tmp_path: Path) -> None:
    """A model without one has no image size."""
    save("flat.onnx", {"x": ["N", "T"]}, [helper.make_node("Relu", ["x"], ["y"])], {})
    said = invoke("bench", "flat.onnx", "--axis", "T=4", "--input-size", "8,8", *QUICK)
    refused(said, "--input-size: no model has an input with the four axes", '"x" [N, T]', "--axis NAME=SIZE")
