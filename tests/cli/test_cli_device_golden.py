"""Golden: commands say in which state the device was, what held it back, and what it lacks for 8-bit models."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from commands import invoke
from made_up_device import QUOTA, VNNI, WITHOUT_VNNI, laptop, write_tree
from onnx import TensorProto, helper

from trunkline.bench.device.state import DeviceState, read_device
from trunkline.bench.instructions import read_instructions
from trunkline.report.runtime_tables import runtimes_table
from trunkline.report.tables import precision_table

pytestmark = pytest.mark.golden

QUICK = ("--samples", 11, "--limit", 0.01)
NOTE = "this processor has no VNNI: int8 gains less, and 16-bit sums may overflow"


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let commands find this processor, whose quota stops the process so often during each measurement."""

    def be(instructions: str = VNNI, stops: int = 0) -> None:
        root = write_tree(laptop(tmp_path / "device"), {"proc/cpuinfo": instructions})
        count = 0

        def read(**options: object) -> DeviceState:
            nonlocal count
            write_tree(root, {QUOTA: f"nr_throttled {count}\nthrottled_usec {count * 2000}"})
            count += stops
            return read_device(root=root)

        monkeypatch.setattr("trunkline.bench.protocol.read_device", read)
        monkeypatch.setattr("trunkline.bench.latency.instability", lambda samples: "")
        monkeypatch.setattr("trunkline.bench.protocol._Bench.warm_up", lambda self: "")
        # Collecting takes longest of all.
        monkeypatch.setattr("trunkline.bench.protocol._garbage_collector_paused", nullcontext)
        for module in ("bench.environment", "verbs.doctor"):
            monkeypatch.setattr(f"trunkline.{module}.read_instructions", lambda: read_instructions(root))

    return be


def write_model(name: str, *, int8: bool = False) -> None:
    quantised = [
        helper.make_node("QuantizeLinear", ["x", "scale"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["y"]),
    ]
    graph = helper.make_graph(
        quantised if int8 else [helper.make_node("Relu", ["x"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    Path(name).write_bytes(model.SerializeToString())


def test_a_throttled_measurement_is_no_result(device: Callable[..., None]) -> None:
    """The table says why, and ``--strict`` ends with 4; a quiet device says that it was quiet."""
    write_model("a.onnx")
    device(stops=2)
    said = invoke("bench", "a.onnx", *QUICK, "--strict")
    assert said.code == 4 and "too noisy" in said.err
    reason = "a CPU quota stopped the process twice, for 4 ms in all"
    assert f"? a is unstable, and so are all speed-ups and bounds, which are against it: {reason}" in said.out
    assert f"THROTTLED: {reason}" in said.out
    assert invoke("bench", "a.onnx", *QUICK).code == 0
    device()
    said = invoke("bench", "a.onnx", *QUICK, "--strict")
    assert said.code == 0, said.err
    (line,) = (line for line in said.out.splitlines() if line.startswith("device: "))
    for part in ("1 thread", "3600 of 3900 MHz", "governor powersave", "61 °C"):
        assert f", {part}," in line
    assert line.endswith("not throttled (heat, power limit, CPU quota)")
    assert "note: the clock follows the load (governor powersave)" in said.out
    content = invoke("bench", "a.onnx", *QUICK, "--json").json
    assert content["device"]["throttled"] == []
    Path("a.json").write_text(json.dumps(content))
    assert invoke("report", "a.json", "--out", "a.html").code == 0
    page = Path("a.html").read_text(encoding="utf-8")
    assert line in page and "device watched: [" in page


@pytest.mark.parametrize(("instructions", "lacks"), [(WITHOUT_VNNI, True), (VNNI, False), ("", False)])
def test_processors_without_vnni(device: Callable[..., None], instructions: str, lacks: bool) -> None:
    """One runtime or several, the page, and doctor; a table without such a model says nothing."""
    device(instructions)
    write_model("a.onnx")
    write_model("b.onnx", int8=True)
    said = invoke("bench", "a.onnx", "b.onnx", *QUICK)
    assert (f"int8: {NOTE}" in said.out) == lacks
    assert NOTE not in invoke("bench", "a.onnx", *QUICK).out
    content = invoke("bench", "a.onnx", "b.onnx", *QUICK, "--json").json
    assert [model["quantised"] for model in content["models"]] == [False, True]
    Path("b.json").write_text(json.dumps(content))
    assert (f"int8: {NOTE}" in runtimes_table(content).notes) == lacks
    assert invoke("report", "b.json", "--out", "b.html").code == 0
    assert (f"b: {NOTE}" in Path("b.html").read_text(encoding="utf-8")) == lacks
    findings = {finding["name"]: finding for finding in invoke("doctor", "--json").json["findings"]}
    assert (findings["int8 instructions"]["advice"] == NOTE) == lacks
    assert ("avx512_vnni" in findings["int8 instructions"]["found"]) == (instructions == VNNI)


def test_a_bundles_measurement_says_it_too() -> None:
    """Its program records what the processor has, and its model's format."""
    environment = {"cpu": "Old", "instructions": {"family": "arm", "has": [], "int8_dot": False}}
    content = {"models": [{"name": "net", "format": "ONNX, int8", "p50_ms": 3.0}], "environment": environment}
    Path("c.json").write_text(json.dumps(content))
    assert invoke("report", "c.json", "--out", "c.html").code == 0
    page = Path("c.html").read_text(encoding="utf-8")
    assert "net: this processor has no dot product of 8-bit integers: int8 gains less" in page


def test_the_table_of_precisions_says_it() -> None:
    """Where a file is of 8 bits, by the processor that proved it; files of earlier versions do not tell."""
    file = {"metrics": {}, "change": {}, "in_float32": [], "file_bytes": 1, "parity": {"outputs": [{"max_rel": 0.0}]}}
    content = {"float32": file, "files": [{**file, "precision": "int8"}]}
    lacking = {"family": "x86", "has": ["avx2"], "int8_dot": False}
    assert precision_table({**content, "instructions": lacking}).notes[1:] == (f"int8: {NOTE}",)
    assert precision_table({**content, "instructions": {**lacking, "int8_dot": True}}).notes[1:] == ()
    assert precision_table(content).notes[1:] == ()
    half = [{**file, "precision": "float16"}]
    assert precision_table({**content, "files": half, "instructions": lacking}).notes[1:] == ()
