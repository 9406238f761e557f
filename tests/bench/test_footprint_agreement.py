"""What models take besides time, and whether a runtime computes what onnxruntime computes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from commands import ended, invoke, python, refused
from documented_json import check_keys, only_json

from trunkline.bench.agreement import difference
from trunkline.bench.footprint import file_bytes
from trunkline.bench.footprint_process import measure_footprint
from trunkline.bench.runtimes.registry import runtime_class
from trunkline.bench.settings import Settings
from trunkline.errors import WorkFailed
from trunkline.graph.builder import GraphBuilder
from trunkline.limits import DEFAULT_LIMITS
from trunkline.report.runtime_tables import tables_of

QUICK = ("--samples", 11, "--limit", 0.05)
WEIGHT_BYTES = 4 * 256 * 4096 * 9


def model(path: Path, channels: int = 4, outputs: int = 2) -> Path:
    builder = GraphBuilder(path.stem)
    image = builder.image("image", (3, 8, 8))
    for number in range(outputs):
        weight = np.random.default_rng(number).standard_normal((channels, 3, 3, 3)).astype(np.float32)
        tensor = builder.tensor(f"w{number}", weight)
        node = builder.node("Conv", [image, tensor], name=f"conv{number}", outputs=[f"y{number}"])
    ir.save(builder.finish([node]).model, path)
    return path


def large(path: Path) -> Path:
    """A model whose weights are 38 MB."""
    builder = GraphBuilder("large")
    x = builder.image("image", (256, 4, 4))
    weight = builder.tensor("w", np.zeros((4096, 256, 3, 3), np.float32))
    ir.save(builder.finish([builder.node("Conv", [x, weight], name="conv")]).model, path)
    return path


PEAKS = """
import json, numpy as np
from trunkline.bench.memory import forget_peak, peak_bytes, resident_bytes
before = resident_bytes()
can_reset = forget_peak()
block = np.ones(2**24)
with_block = peak_bytes()
del block
forget_peak()
print(json.dumps([can_reset, before, with_block, peak_bytes()]))
"""


@pytest.mark.golden
def test_the_peak_is_counted_anew(tmp_path: Path) -> None:
    """In a process of its own: what other tests have left could be given back, or used again, in between."""
    said = ended(python("-c", PEAKS, cwd=tmp_path))
    can_reset, before, with_block, after = said.json
    if not can_reset:
        pytest.skip("this system does not count a process' peak anew")
    assert with_block > before + 2**26  # of 128 MiB
    assert after < with_block - 2**26


@pytest.mark.golden
def test_weights_are_in_the_footprint(tmp_path: Path) -> None:
    """At least once, and not many times; of all models of a candidate together."""
    small, big = model(tmp_path / "small.onnx"), large(tmp_path / "large.onnx")
    found = measure_footprint([small, big], "onnxruntime", Settings(), DEFAULT_LIMITS)
    assert found.file_bytes == small.stat().st_size + big.stat().st_size == file_bytes([small, big])
    assert found.start_up_ms is not None and found.start_up_ms > 0
    assert found.device_memory_bytes is None
    if found.peak_memory_bytes is not None:
        assert WEIGHT_BYTES < found.peak_memory_bytes < 8 * WEIGHT_BYTES


@pytest.mark.abuse
def test_a_footprint_that_cannot_be_taken(tmp_path: Path) -> None:
    """The message is the one that the other process had."""
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(WorkFailed, match=r"bad.onnx: measuring its memory failed: onnxruntime cannot load it"):
        measure_footprint([tmp_path / "bad.onnx"], "onnxruntime", Settings(), DEFAULT_LIMITS)


@pytest.mark.golden
def test_external_weights_count(tmp_path: Path) -> None:
    proto = onnx.load(model(tmp_path / "m.onnx"))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    sizes = [(tmp_path / name).stat().st_size for name in ("m.onnx", "weights.bin")]
    assert file_bytes([tmp_path / "m.onnx"]) == sum(sizes)
    (tmp_path / "net.prototxt").write_text("name: 'n'")
    assert file_bytes([tmp_path / "net.prototxt"]) is None


@pytest.mark.properties
def test_differences_of_outputs() -> None:
    y, empty = np.array([1.0, -4.0]), np.zeros((0, 4))
    assert difference({"a": y}, {"a": y}) == 0
    assert difference({"a": y + [0, 1]}, {"a": y}) == 0.25
    assert difference({"b": y, "a": empty}, {"a": empty, "b": y}) == 0  # by name
    assert difference({"p": empty, "q": y}, {"a": empty, "b": y}) == 0  # by order, where a runtime has its own names
    assert difference({"a": np.array([1])}, {"a": np.array([0])}) == math.inf
    assert difference({"a": y[:1]}, {"a": y}) == math.inf
    assert difference({"a": y * np.nan}, {"a": y}) == math.inf
    assert difference({"a": y}, {"a": y, "b": y}) == math.inf
    assert difference({"a": np.array([255], np.uint8)}, {"a": np.array([254], np.uint8)}) == pytest.approx(1 / 254)


@pytest.mark.golden
def test_runtimes_and_batches_in_one_table(tmp_path: Path) -> None:
    """Every key is documented, and each runtime has a baseline of its own."""
    first, second = model(tmp_path / "a.onnx"), model(tmp_path / "b.onnx", 2)
    asked = ("--runtime", "onnxruntime", "--runtime", "torch", "--batch-sizes", "1,3")
    content = only_json(invoke("bench", first, second, *asked, *QUICK, "--json"))
    further = content["further"]
    check_keys("bench", {**content, "further": []})
    for one in further:
        check_keys("bench", {**one, "environment": content["environment"], "against": [], "further": []})
    assert [(one["runtime"], one["settings"]["batch"]) for one in [content, *further]] == [
        ("onnxruntime", 1),
        ("torch", 1),
        ("onnxruntime", 3),
        ("torch", 3),
    ]
    for one in [content, *further]:
        assert [ratio["against"] for ratio in one["ratios"]] == ["a"]
        for row in one["models"]:
            assert row["images_per_s"] == pytest.approx(1000 * one["settings"]["batch"] / row["p50_ms"])
            assert row["file_bytes"] > 0 and row["start_up_ms"] is None
            assert row["inputs"][0]["shape"][0] == one["settings"]["batch"]
    assert [row["agrees"] for row in content["models"] + further[1]["models"]] == [None] * 4
    assert all(row["agrees"] and row["difference"] < 1e-4 for row in further[0]["models"] + further[2]["models"])
    _, latency, throughput = tables_of(content)
    assert [row[:2] for row in latency.rows] == [(name, model) for name in ("onnxruntime", "torch") for model in "ab"]
    assert throughput.columns == ("runtime", "model", "batch 1", "batch 3")
    assert len(throughput.rows) == 4 and "–" not in str(throughput.rows)


@pytest.mark.golden
def test_a_footprint_is_asked_for(tmp_path: Path) -> None:
    """For the sizes that are given, which reach the other process as JSON."""
    make = onnx.helper
    x = make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, "H", "W"])
    y = make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = make.make_graph([make.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    proto = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=8)
    onnx.save(proto, tmp_path / "free.onnx")
    sizes = ("--batch", 4, "--input-size", "512,512", "--axis", "W=512")
    row = only_json(invoke("bench", tmp_path / "free.onnx", "--footprint", *sizes, *QUICK, "--json"))["models"][0]
    assert row["start_up_ms"] > 0
    # An input and an output, each of which is bound too.
    if row["peak_memory_bytes"] is not None:
        assert row["peak_memory_bytes"] > 2 * 4 * 4 * 3 * 512 * 512


@pytest.mark.abuse
def test_other_outputs_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that computes something else is no rival, however fast it is."""
    kind = type(runtime_class("torch")().prepare(GRAPH(), Settings()))
    plain = kind.outputs
    monkeypatch.setattr(kind, "outputs", lambda self: {key: 1.01 * value for key, value in plain(self).items()})
    path = model(tmp_path / "a.onnx")
    said = invoke("bench", path, "--runtime", "torch", *QUICK, "--strict")
    assert said.code == 4
    assert "1.0e-02 !" in said.out
    assert "! torch, batch 1: outputs of a are not those of onnxruntime on the CPU" in said.out
    assert "outputs differ from onnxruntime's" in said.err
    row = only_json(invoke("bench", path, "--runtime", "torch", *QUICK, "--json"))["models"][0]
    assert (row["agrees"], row["difference"]) == (False, pytest.approx(0.01, rel=1e-3))


def GRAPH() -> object:
    builder = GraphBuilder("g")
    return builder.finish([builder.node("Relu", [builder.image("image", (3, 8, 8))], name="relu")])


@pytest.mark.abuse
def test_a_sweep_on_what_there_is_not() -> None:
    sweep = ("sweep", "zoo:tiny", "--tasks", "a,b")
    refused(invoke(*sweep, "--runtime", "openvno"), "bench.runtime", "openvino")
    refused(invoke(*sweep, "--runtime", "openvino", "--provider", "cuda"), "bench.provider", "runs on cpu")


PROTOTXT = """\
name: "n"
input: "data"
input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 } }
"""


@pytest.mark.golden
def test_what_onnxruntime_cannot_run_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(PROTOTXT)
    said = invoke("bench", tmp_path / "net.prototxt", "--runtime", "torch", *QUICK, "--json")
    row = only_json(said)["models"][0]
    assert (row["agrees"], row["difference"], row["file_bytes"]) == (None, None, None)
    assert "note: torch: outputs of net are not compared" in said.err


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--runtime", "openvno"], ("bench.runtime", "openvino")),
        (["--runtime", "torch", "--runtime", "torch"], ("bench.runtime", "asked for twice")),
        (["--runtime", "openvino", "--provider", "cuda"], ("bench.provider", "runs on cpu")),
        (["--runtime", "onnxruntime", "--runtime", "cuda-graph", "--provider", "cpu"], ("runs on cuda",)),
        (["--batch-sizes", "1,x"], ("--batch-sizes", "1,2,4,8")),
        (["--batch-sizes", "0"], ("bench.batch",)),
        (["--batch-sizes", "2,2"], ("bench.batch", "asked for twice")),
    ],
)
def test_what_cannot_run_is_refused(arguments: list[str], fragments: tuple[str, ...], tmp_path: Path) -> None:
    refused(invoke("bench", model(tmp_path / "a.onnx"), *arguments, *QUICK), *fragments)
