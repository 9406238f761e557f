"""Golden: what the command line promises to people and to scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import Finished, ended, invoke, python, spawn
from documented_json import check_keys, only_json

from trunkline.cli.main import COMMANDS, run

pytestmark = pytest.mark.golden

HEAVY = ("torch", "onnxruntime", "onnx", "onnx_ir", "matplotlib", "pydantic", "numpy")
SIZE = ("--input-size", "32,48")


def test_help_lists_every_command() -> None:
    said = invoke("--help")
    assert said.code == 0
    assert not said.err
    for command in COMMANDS:
        assert f"│ {command} " in said.out
    assert invoke("-h").out == invoke().out == said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    said = invoke(command, "--help")
    assert said.code == 0
    assert f"Usage: trunkline {command}" in said.out
    assert "--json" in said.out


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", invoke("--version").out)


@pytest.mark.parametrize(
    "code",
    [
        "import trunkline",
        "from trunkline.cli.main import run; run(['--help'])",
        "from trunkline.cli.main import run; run(['inspct'])",
        "from trunkline.cli.main import run; run(['--version'])",
    ],
)
def test_nothing_heavy_is_loaded_for_help(code: str, tmp_path: Path) -> None:
    tail = f"; import sys; print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    said = ended(python("-c", code + tail, cwd=tmp_path))
    assert said.code == 0, said.err
    assert "LOADED []" in said.out


def test_doctor_loads_nothing_it_looks_for(tmp_path: Path) -> None:
    code = "from trunkline.cli.main import run; run(['doctor', '--json']); import sys"
    tail = "; assert not {'torch', 'onnxruntime', 'onnx', 'matplotlib'} & set(sys.modules)"
    assert ended(python("-c", code + tail, cwd=tmp_path)).code == 0


def test_a_broken_installation_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.verbs.doctor._version", lambda name: "" if name == "torch" else "1.0")
    said = invoke("doctor", "--json")
    assert said.code == 3
    assert not said.json["healthy"]
    missing = {row["name"]: row["advice"] for row in said.json["findings"] if row["status"] == "missing"}
    assert missing["torch"] == "pip install torch"
    assert "uninstall both" in missing["onnxruntime"]


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [
        (["inspct", "zoo:tiny"], 'did you mean "inspect"?'),
        (["--versoin"], 'did you mean "--version"?'),
        (["quux"], "see `trunkline --help`"),
        (["inspect", "zoo:tiny", "--jsn"], "Did you mean --json?"),
        (["build", "zoo:tiny", "o.onnx", "--tasks", "a", "--all-shred"], "Did you mean --all-shared?"),
        (["bench", "a.onnx", "--provider", "gpu"], "cuda"),
        (["bench", "a.onnx", "--threads", "two"], "--threads"),
        (["inspect"], "--model"),
        (["inspect", "a", "b"], "b"),
        (["run", "p.toml"], "--out"),
        (["build", "zoo:tiny", "o.onnx"], "--tasks"),
    ],
)
def test_mistyped_commands_are_guessed(arguments: list[str], guess: str) -> None:
    """And options."""
    said = invoke(*arguments)
    assert said.code == 2
    assert not said.out
    assert said.err.startswith("Usage: ")
    assert guess in said.err
    assert "--help" in said.err or "did you mean" in said.err


def test_doctor_prints_what_is_documented() -> None:
    content = only_json(invoke("doctor", "--json"))
    check_keys("doctor", content)
    assert content["healthy"]


def test_inspect_prints_what_is_documented() -> None:
    content = only_json(invoke("inspect", "zoo:tiny", *SIZE, "--json"))
    check_keys("inspect", content)
    assert content["inputs"] == [{"name": "image", "shape": [None, 3, 32, 48]}]
    assert content["macs"] == sum(block["macs"] for block in content["blocks"])
    assert content["parameters"] == sum(block["parameters"] for block in content["blocks"])
    assert content["blocks"][-1]["output_shape"] == content["outputs"][0]["shape"]
    assert content["ops"]["Conv"] == 15


def test_convert_prints_what_is_documented() -> None:
    content = only_json(invoke("convert", "zoo:tiny", "tiny.onnx", *SIZE, "--parity-inputs", 2, "--json"))
    check_keys("convert", content)
    assert content["parity"]["passed"]
    assert content["file_bytes"] == Path("tiny.onnx").stat().st_size
    for output in content["parity"]["outputs"]:
        assert 0 <= output["max_abs"] <= output["tolerance"]


def test_build_prints_what_is_documented() -> None:
    said = invoke("build", "zoo:tiny", "both.onnx", "--tasks", "a,b", "--all-shared", *SIZE, "--json")
    content = only_json(said)
    check_keys("build", content)
    assert content["macs"]["executed"] < content["macs"]["independent"]


def test_repairs_are_told_beside_results() -> None:
    """On stderr, and in the JSON."""
    Path("net.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "blob1" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
        'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }\n'
    )
    said = invoke("convert", "net.prototxt", "net.onnx", "--parity-inputs", 1, "--json")
    assert said.json["notes"] == invoke("inspect", "net.prototxt", "--json").json["problems"] != []
    assert said.err == "".join(f"note: {note}\n" for note in said.json["notes"])
    assert 'taken as the input "blob1"' in said.err


def test_bench_prints_what_is_documented() -> None:
    for name, sharing in (("shared", "--all-shared"), ("apart", "--independent")):
        invoke("build", "zoo:tiny", f"{name}.onnx", "--tasks", "a,b", sharing, *SIZE)
    said = invoke("bench", "apart.onnx", "shared.onnx", "--samples", 11, "--limit", 0.05, "--json")
    content = only_json(said)
    check_keys("bench", content)
    assert [model["name"] for model in content["models"]] == ["apart", "shared"]
    for model in content["models"]:
        assert model["p50_ci_ms"][0] <= model["p50_ms"] <= model["p50_ci_ms"][1]
        assert model["samples"] == len(model["samples_ms"]) >= 11
        assert (model["provider"], model["threads"]) == ("cpu", 1)
    assert [(ratio["name"], ratio["against"]) for ratio in content["ratios"]] == [("shared", "apart")]


def test_strict_bench_ends_with_4(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is too noisy to say; without it the command is done."""
    monkeypatch.setattr("trunkline.bench.latency.instability", lambda samples: "a neighbour was loud")
    invoke("build", "zoo:tiny", "a.onnx", "--tasks", "a", "--all-shared", *SIZE)
    arguments = ("bench", "a.onnx", "--samples", 11, "--limit", 0.05)
    said = invoke(*arguments, "--strict", "--json")
    assert said.code == 4
    assert "too noisy" in said.err
    assert not said.json["stable"]
    assert invoke(*arguments).code == 0


def test_run_prints_what_is_documented(finished: Finished) -> None:
    content = only_json(finished.said)
    check_keys("run", content)
    assert content == json.loads((finished.out / "result.json").read_text())
    assert set(content["delta"]) == {"model", "multi-task"}
    assert content["export"]["parity"]["passed"]
    assert [model["name"] for model in content["bench"]["models"]] == ["single-task", "multi-task", "model"]
    assert "train: the single-task baseline" in finished.said.err


def test_run_measures_what_it_found_and_exported(finished: Finished) -> None:
    """By work, counted by three stages that know nothing of each other; all against the single-task models."""
    content = finished.said.json
    single, _, searched = content["bench"]["models"]
    assert single["macs"] == content["search"]["macs"]["independent"]
    assert searched["macs"] == content["export"]["macs"] == content["search"]["macs"]["executed"]
    assert searched["macs"] < single["macs"]
    assert {ratio["against"] for ratio in content["bench"]["ratios"]} == {"single-task"}


@pytest.mark.parametrize("command", ["search", "train", "export"])
def test_each_stage_prints_what_is_documented(command: str, finished: Finished) -> None:
    before = json.loads(finished.said.out)[command]
    content = only_json(invoke(command, finished.pipeline, "--out", finished.out, "--json", "--quiet"))
    check_keys(command, content)
    assert content == before


def test_report_prints_what_is_documented(finished: Finished) -> None:
    content = only_json(invoke("report", finished.out, "--json"))
    check_keys("report", content)
    for path in (content["report"], *content["pictures"]):
        assert Path(path).is_file()


def test_numbers_that_are_not_finite_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    from trunkline.cli.console import emit_json

    rows: list[str] = []
    monkeypatch.setattr("sys.stdout.write", rows.append)
    emit_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": (True, None)}})
    assert json.loads("".join(rows)) == {"a": None, "b": [None, 1.5], "c": {"d": [True, None]}}


def test_terminals_may_know_only_ascii(tmp_path: Path) -> None:
    """What they cannot show is replaced."""
    said = ended(spawn("inspect", "zoo:tiny", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0"))
    assert said.code == 0, said.err
    assert "120,944 parameters" in said.out


def test_readers_may_go_away(tmp_path: Path) -> None:
    """As `head` does."""
    process = spawn("inspect", "zoo:deeplab_resnet34", "--json", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_other_pipes_break(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """One to a process that died is no reader who has seen enough: once, such a command ended as if it were done."""

    def broken(*_: object, **__: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("trunkline.cli.main.app", broken)
    assert run(["inspect", "zoo:tiny"]) == 3
    assert "WorkFailed: Broken pipe" in capfd.readouterr().err


def test_convert_names_what_is_not_folded(tmp_path: Path) -> None:
    """A BatchNormalization behind a sum has no convolution to go into; the first four are named, all in JSON."""
    layers = ['layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "data" top: "x0" }']
    layers += [f'layer {{ name: "n{i}" type: "BatchNorm" bottom: "x{i}" top: "x{i + 1}" }}' for i in range(6)]
    head = 'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
    Path("net.prototxt").write_text(head + "\n".join(layers), encoding="utf-8")
    arguments = ("convert", "net.prototxt", "net.onnx", "--fold", "--parity-inputs", 1)
    content = only_json(invoke(*arguments, "--json"))
    assert [left["node"] for left in content["not_folded"]] == [f"n{i}" for i in range(6)]
    said = invoke(*arguments)
    assert 'note: n0 is not folded: it reads Add "sum"' in said.err
    assert "note: 2 more are not folded; --json names them all" in said.err
