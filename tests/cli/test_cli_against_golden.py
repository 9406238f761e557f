"""Golden: ``bench --against`` fails where a model became slower beyond noise, and says what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from commands import Said, invoke, refused
from documented_json import check_keys, only_json
from onnx import TensorProto, helper

from trunkline.bench.candidate import Candidate
from trunkline.bench.device.state import DeviceState

QUICK = ("--samples", 11, "--limit", 0.01)
SETTINGS = {"batch": 1, "provider": "cpu", "precision": "float32", "threads": 1, "spinning": False}
CPU = "Made Up CPU"

Now = Callable[..., None]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    """Let models take these times on this processor, each run as long as the other."""

    def take(**times_ms: float) -> None:
        def time(self: object, candidate: Candidate, index: int) -> float:
            candidate.feed(index)
            candidate.run()
            return times_ms[candidate.name]

        monkeypatch.setattr("trunkline.bench.protocol._Bench._time", time)
        monkeypatch.setattr("trunkline.bench.protocol._Bench.warm_up", lambda self: "")
        # Collecting takes longest of all.
        monkeypatch.setattr("trunkline.bench.protocol._garbage_collector_paused", nullcontext)
        monkeypatch.setattr("trunkline.bench.protocol.read_device", lambda **options: DeviceState())
        monkeypatch.setattr("trunkline.bench.environment._cpu_model", lambda: CPU)
        for name in times_ms:
            relu = helper.make_node("Relu", ["x"], ["y"])
            ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["N", 3, 8, 8]) for end in "xy"]
            graph = helper.make_graph([relu], "net", ends[:1], ends[1:])
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
            Path(f"{name}.onnx").write_bytes(model.SerializeToString())

    return take


def row(name: str, ms: float, spread: float = 0.01, **more: object) -> dict[str, Any]:
    return {"name": name, "p50_ms": ms, "p50_ci_ms": [ms * (1 - spread), ms * (1 + spread)], **more}


def ratio(name: str, against: str, value: float) -> dict[str, Any]:
    return {"name": name, "against": against, "ratio": value, "ci": [value * 0.99, value * 1.01]}


def measured(*models: dict[str, Any], **more: object) -> dict[str, Any]:
    content = {"models": models, "settings": SETTINGS, "environment": {"cpu": CPU}, "runtime": "onnxruntime"}
    return {**content, **more}


def bench(old: object, *arguments: object) -> Said:
    """Measure ``a.onnx`` and what else there is against a file that holds this."""
    Path("old.json").write_text(old if isinstance(old, str) else json.dumps(old))
    return invoke("bench", *sorted(Path().glob("*.onnx")), *QUICK, "--against", "old.json", *arguments)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("ms", "options", "code", "verdict"),
    [
        (10.2, (), 0, "same"),
        (12.0, (), 3, "slower"),
        (12.0, ("--margin", 25), 0, "same"),
        (10.55, (), 0, "undecided"),  # beyond 5 %, but the old median is only known to within 1 %
        (10.55, ("--strict",), 4, "undecided"),
        (12.0, ("--strict",), 3, "slower"),
        (9.0, ("--strict",), 0, "faster"),
    ],
)
def test_one_model_by_its_latency(now: Now, ms: float, options: tuple[object, ...], code: int, verdict: str) -> None:
    now(a=ms)
    said = bench(measured(row("a", 10.0)), *options, "--json")
    assert said.code == code, said.err
    content = said.json
    check_keys("bench", content)
    (change,) = content["against"]
    assert (change["name"], change["compared"], change["verdict"]) == ("a", "latency", verdict)
    assert (change["old_ms"], change["new_ms"], change["baseline"]) == (10.0, ms, False)
    assert change["ratio"] == pytest.approx(ms / 10)
    assert change["ci"] == pytest.approx([ms / 10.1, ms / 9.9])
    assert ("slower than in old.json: a (onnxruntime, batch 1), " in said.err) == (verdict == "slower")


@pytest.mark.golden
def test_the_table_is_there_where_it_fails(now: Now) -> None:
    now(a=12.0)
    said = bench(measured(row("a", 10.0)))
    assert said.code == 3
    (line,) = (line for line in said.out.splitlines() if line.startswith("a") and "slower" in line)
    assert all(part in line for part in ("onnxruntime, batch 1", "10.00", "12.00", "1.200", "1.188–1.212", "latency"))


@pytest.mark.golden
@pytest.mark.parametrize(("ms", "code", "verdict"), [(10.0, 0, "same"), (13.0, 3, "slower"), (8.0, 0, "faster")])
def test_a_common_baseline_cancels_the_machine(now: Now, ms: float, code: int, verdict: str) -> None:
    """Everything takes twice as long today; only what changed against the first model counts."""
    now(a=20.0, b=ms)
    said = bench(measured(row("a", 10.0), row("b", 5.0), ratios=[ratio("b", "a", 0.5)]), "--json")
    assert said.code == code, said.err
    first, second = said.json["against"]
    assert (first["compared"], first["verdict"], first["baseline"]) == ("latency", "slower", True)
    assert (second["compared"], second["verdict"], second["baseline"]) == ("ratio to baseline", verdict, False)
    assert second["ratio"] == pytest.approx(ms / 20 / 0.5)
    assert "note: a, which ratios are to, takes 2.00" in said.err
    assert invoke("bench", "a.onnx", "b.onnx", *QUICK).out.count("Against") == 0


@pytest.mark.golden
def test_another_baseline_is_none(now: Now) -> None:
    """Of other work under the same name, or none at all: then times are compared, and all of them count."""
    now(a=20.0, b=5.0)
    others = (
        measured(row("a", 10.0, macs=7), row("b", 5.0), ratios=[ratio("b", "a", 0.5)]),
        measured(row("a", 10.0), row("b", 5.0)),
        measured(row("b", 5.0), row("a", 10.0), ratios=[ratio("a", "b", 2.0)]),
    )
    for old in others:
        said = bench(old, "--json")
        assert said.code == 3
        assert [change["compared"] for change in said.json["against"]] == ["latency", "latency"]
        assert not any(change["baseline"] for change in said.json["against"])


@pytest.mark.golden
def test_what_was_not_steady_is_undecided(now: Now) -> None:
    now(a=20.0)
    old = measured(row("a", 10.0, stable=False, reason="a neighbour was loud"))
    said = bench(old)
    assert said.code == 0 and "? a: then: a neighbour was loud" in said.out
    assert bench(old, "--strict").code == 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trunkline.bench.latency.instability", lambda samples: "a door was open")
        said = bench(measured(row("a", 10.0)))
    assert said.code == 0 and "? a: now: a door was open" in said.out
    now(a=20.0, b=20.0)
    old = measured(row("a", 10.0, stable=False), row("b", 5.0), ratios=[ratio("b", "a", 0.5)])
    said = bench(old)
    assert said.code == 0 and "? b: a then: not steady" in said.out


@pytest.mark.golden
def test_models_are_found_by_name(now: Now) -> None:
    """In any measurement of the file that was made alike; one that is in none is a note."""
    now(a=10.0, b=5.0)
    comparison = {"measurements": [measured(row("a", 10.0)), measured(row("b", 5.0), row("a", 99.0))]}
    said = bench(comparison, "--json")
    assert [(change["name"], change["old_ms"]) for change in said.json["against"]] == [("a", 10.0), ("b", 5.0)]
    further = measured(row("a", 1.0), settings={**SETTINGS, "batch": 4}, environment={})
    several = {"bench": measured(row("a", 10.0), row("b", 5.0), further=[further])}
    said = bench(several, "--batch-sizes", "1,4", "--json")
    assert [(one["name"], one["batch"], one["old_ms"]) for one in said.json["against"]] == [
        ("a", 1, 10.0),
        ("b", 1, 5.0),
        ("a", 4, 1.0),
    ]
    assert "note: b (onnxruntime, batch 4) is not in old.json" in said.err
    refused(bench(measured(row("x", 1.0))), "old.json: no model has the same name", "it has x")


@pytest.mark.golden
def test_a_bundles_measurement_is_one(now: Now) -> None:
    """It has no settings; software that changed is a note, as that may be what made a model slower."""
    now(a=10.0)
    model = row("a", 10.0, threads=1, provider="CPUExecutionProvider", format="ONNX, float32")
    environment = {"cpu": CPU, "versions": {"onnxruntime": "0.1", "left-pad": "1"}}
    old = {"format": "trunkline-bench", "models": [model], "environment": environment}
    said = bench(old)
    assert said.code == 0, said.err
    assert "note: onnxruntime 0.1 then, " in said.err and "left-pad" not in said.err
    said = bench({"models": [row("a", 10.0)]})
    assert said.code == 0 and "old.json does not say on which processor" in said.err


@pytest.mark.golden
@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({"environment": {"cpu": "Other CPU"}}, (), "processor Other CPU then, Made Up CPU now"),
        ({}, ("--threads", 2), "threads 1 then, 2 now"),
        ({}, ("--batch", 4), "batch 1 then, 4 now"),
        ({}, ("--spinning",), "spinning False then, True now"),
        ({"runtime": "openvino"}, (), "runtime openvino then, onnxruntime now"),
        ({"settings": {**SETTINGS, "provider": "cuda"}}, (), "provider cuda then, cpu now"),
        ({"settings": {**SETTINGS, "precision": "float16"}}, (), "precision float16 then, float32 now"),
        ({"models": [row("a", 1.0, threads=3)], "settings": {}}, (), "threads 3 then, 1 now"),
        (
            {"models": [row("a", 1.0, inputs=[{"shape": [1, 3, 16, 16]}])]},
            (),
            '"a" was fed with [1, 3, 16, 16] then, [1, 3, 8, 8] now',
        ),
    ],
)
def test_what_was_measured_otherwise_is_refused(
    now: Now, change: dict[str, Any], options: tuple[object, ...], says: str
) -> None:
    now(a=10.0)
    refused(bench({**measured(row("a", 10.0)), **change}, *options), "old.json: ", says)


@pytest.mark.golden
def test_what_bench_prints_is_what_it_takes(now: Now) -> None:
    """And a page shows it."""
    now(a=10.0, b=5.0)
    kept = only_json(invoke("bench", "a.onnx", "b.onnx", *QUICK, "--json"))
    assert kept["against"] == []
    said = bench(kept, "--json")
    assert [change["verdict"] for change in said.json["against"]] == ["same", "same"]
    assert said.json["against"][1]["compared"] == "ratio to baseline"
    Path("new.json").write_text(said.out)
    assert invoke("report", "new.json", "--out", "page.html").code == 0
    assert "Against an earlier measurement" in Path("page.html").read_text(encoding="utf-8")


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("old", "says"),
    [
        ("", "this is not JSON"),
        ("{", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ("3", "this is no measurement"),
        ("[]", "this is no measurement"),
        ("{}", "models: this key is needed"),
        ('{"models": []}', "models: "),
        ('{"models": {"a": 1}}', "models: "),
        ('{"models": [{"name": "a", "p50_ms": 1.0}]}', "models.0.p50_ci_ms: this key is needed"),
        ('{"models": [{"name": "a", "p50_ms": NaN, "p50_ci_ms": [1, 2]}]}', "models.0.p50_ms: "),
        ('{"models": [{"name": "a", "p50_ms": 1e999, "p50_ci_ms": [1, 2]}]}', "models.0.p50_ms: "),
        ('{"models": [{"name": "a", "p50_ms": -1, "p50_ci_ms": [1, 2]}]}', "models.0.p50_ms: "),
        ('{"models": [{"name": "a", "p50_ms": "1", "p50_ci_ms": [1, 2]}]}', "models.0.p50_ms: "),
        ('{"models": [{"name": "a", "p50_ms": 1.5, "p50_ci_ms": ["1", 2]}]}', "models.0.p50_ci_ms.0: "),
        ('{"models": [{"name": "a", "p50_ms": 3, "p50_ci_ms": [1, 2]}]}', "models.0: p50_ms is not inside p50_ci_ms"),
        ('{"measurements": []}', "there is no measurement in this"),
        ('{"measurements": [{"models": 1}]}', "measurements.0.models: "),
        ('{"bench": null}', "bench: "),
        (measured(row("a", 1.0), row("a", 2.0)), "two models have the same name"),
        (measured(row("a", 1.0), ratios=[{**ratio("b", "a", 2.0), "ci": [1, 1]}]), "ratios.0: ratio is not inside ci"),
    ],
)
def test_damaged_measurements_are_refused(now: Now, old: object, says: str) -> None:
    """Before anything is measured, with the place."""
    now(a=1.0)
    refused(bench(old), "old.json: ", says)


@pytest.mark.abuse
def test_other_files_and_margins_are_refused(now: Now) -> None:
    now(a=1.0)
    Path("folder").mkdir()
    refused(invoke("bench", "a.onnx", "--against", "nowhere.json"), "nowhere.json: ", "no such file")
    refused(invoke("bench", "a.onnx", "--against", "folder"), "folder: ", "is a folder")
    for margin in ("nan", "inf", "-1"):
        refused(invoke("bench", "a.onnx", f"--margin={margin}"), "--margin is", "give percent")
