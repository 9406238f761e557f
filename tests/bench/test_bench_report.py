"""Golden and abuse: a report is written from JSON files alone, inert, and blames the file that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkline.bench.report.document import write_report
from trunkline.bench.report.loss_picture import losses_by_phase, read_records
from trunkline.bench.report.tables import Table, accuracy_table, cost_table, latency_table
from trunkline.errors import InvalidConfig

PART = {"macs": 4_000_000, "parameters": 2_000, "activation_bytes": 8}
SEARCH = {
    "parts": {
        "backbone": PART,
        "heads": {**PART, "macs": 1_000_000},
        "independent_backbone": {**PART, "macs": 8_000_000, "parameters": 4_000},
        "independent": {**PART, "macs": 9_000_000, "parameters": 6_000},
    }
}
PLAN = {
    "backbone": {"name": "<script>alert(1)</script>", "fingerprint": "0"},
    "tasks": ["a", "b"],
    "method": "automtl",
    "units": {"conv1": {"a": 0, "b": 0}, "$odd$|name": {"a": 1, "b": "skip"}, "c": {"a": 3, "b": 3}},
}
POLICY = {"units": ["u", "v"], "tasks": ["a", "b"], "probabilities": [[[0.2, 0.3, 0.5]] * 2] * 2}


def write(run: Path, **files: object) -> Path:
    for name, content in files.items():
        (run / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return run


def test_costs_are_told_apart() -> None:
    rows = {row[0]: row[1:] for row in cost_table(SEARCH).rows}
    assert rows["backbone"] == ("4.0", "8.0", "0.500", "2.0", "4.0", "0.500")
    assert rows["heads"][:3] == ("1.0", "1.0", "1.000")
    assert rows["all"][2] == "0.556"


def test_accuracy_shows_every_model_and_the_change() -> None:
    models = [{"name": n, "metrics": {"a": {"miou": v}}} for n, v in (("model", 0.5), ("independent", 0.4))]
    table = accuracy_table(models, {"model": {"a": 25.0, "mean": 25.0}})
    assert table.rows == (("a miou", "0.5", "0.4"), ("Δ mean (%)", "+25.00", "–"))


def test_latency_shows_interval_speed_up_and_bound() -> None:
    model = {"provider": "CPU", "threads": 1, "samples": 9, "p50_ci_ms": [1, 3], "macs_ratio": 0.5}
    model["time_over_bound"] = 1.1
    bench = {
        "models": [{**model, "name": "x", "p50_ms": 2.0}, {**model, "name": "y", "p50_ms": 1.0, "macs_ratio": None}],
        "ratios": [{"name": "y", "speed_up": 2.0}],
    }
    assert latency_table(bench).rows[1] == ("y", "1.00", "1.00–3.00", "2.00", "–", "1.100", "9")


def test_names_from_files_cannot_break_out_of_a_table() -> None:
    text = Table("t", ("a|b",), (("<b>x\n`y`",),)).to_markdown()
    assert "a\\|b" in text
    assert "<b>" not in text
    assert "&lt;b&gt;x \\`y\\`" in text


def test_a_report_of_a_half_finished_run(tmp_path: Path) -> None:
    records = [{"kind": "step", "phase": "pre", "step": i, "losses": {"a": 1.0 / i, "b": 0.0}} for i in range(1, 5)]
    (tmp_path / "search").mkdir()
    text = "\n".join(json.dumps(record) for record in records) + '\n{"torn'
    (tmp_path / "search" / "metrics.jsonl").write_text(text)
    report = write_report(write(tmp_path, plan=PLAN, policy=POLICY, search=SEARCH))
    assert [path.name for path in report.pictures] == ["sharing.png", "policy.png", "losses.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in report.pictures)
    content = report.path.read_text()
    assert "<script>" not in content
    assert "| backbone | 4.0 |" in content
    assert len(losses_by_phase(list(read_records(tmp_path / "search" / "metrics.jsonl")))["pre"]["a"]) == 4


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    pictures = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        report = write_report(write(tmp_path / name, plan=PLAN, policy=POLICY))
        pictures.append([path.read_bytes() for path in report.pictures])
    assert pictures[0] == pictures[1]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no run in this folder"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["plan", "policy", "search", "train", "export", "bench"])
@pytest.mark.parametrize("content", ['{"a": 1}', "[1]", '"x"', "7", "{"])
def test_a_file_of_another_form_is_blamed(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(InvalidConfig, match=name):
        write_report(write(tmp_path, **{name: content}))
