"""A report is written from JSON files alone, inert, and blames the file that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trunkline.errors import InvalidConfig
from trunkline.report.document import write_report
from trunkline.report.loss_picture import losses_by_phase, read_records
from trunkline.report.tables import Table, accuracy_table, cost_table, latency_table

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
MODEL = {"provider": "CPU", "threads": 1, "samples": 9, "p50_ci_ms": [1, 3], "stable": True, "reason": ""}
BENCH = {
    "models": [
        {**MODEL, "name": "x", "p50_ms": 2.0, "macs": 200, "macs_ratio": 1.0, "time_over_bound": 1.0},
        {**MODEL, "name": "y", "p50_ms": 1.0, "macs": 100, "macs_ratio": 0.5, "time_over_bound": 1.1},
        {**MODEL, "name": "z", "p50_ms": 4.0, "macs": 100, "macs_ratio": 0.5, "time_over_bound": 1.1},
    ],
    "ratios": [{"name": "y", "speed_up": 2.0}, {"name": "z", "speed_up": 0.5}],
}
POLICY = {
    "method": "automtl",
    "options": ["shared", "own", "skip"],
    "units": ["u", "v"],
    "tasks": ["a", "b"],
    "probabilities": [[[0.2, 0.3, 0.5]] * 2] * 2,
}


def write(run: Path, **files: object) -> Path:
    for name, content in files.items():
        (run / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return run


def _unsteady(name: str) -> dict[str, Any]:
    """The measurement with one model that is not steady."""
    models = [
        {**model, "stable": False, "reason": f"{name} was disturbed"} if model["name"] == name else {**model}
        for model in BENCH["models"]
    ]
    return {**BENCH, "models": models}


@pytest.mark.golden
def test_costs_of_backbone_and_heads() -> None:
    """Apart, and as parts of independent ones."""
    rows = {row[0]: row[1:] for row in cost_table(SEARCH).rows}
    assert rows["backbone"] == ("4.0", "8.0", "0.500", "2.0", "4.0", "0.500")
    assert rows["heads"][:3] == ("1.0", "1.0", "1.000")
    assert rows["all"][2] == "0.556"


@pytest.mark.golden
def test_accuracy_shows_models_and_change() -> None:
    """A column a model; what Δ is against has none."""
    splits = {"report": {"split": "test", "samples": 7}}
    values = (("model", 0.5), ("single-task", 0.4))
    models = [{"name": n, "metrics": {"a": {"miou": v}}, "splits": splits, "alike": True} for n, v in values]
    table = accuracy_table(models, {"model": {"a": 25.0, "mean": 25.0}})
    assert table.rows == (("a miou", "0.5", "0.4"), ("Δ mean (%)", "+25.00", "–"))
    assert table.title == "Accuracy on test (7 samples)"


@pytest.mark.golden
def test_latency_shows_interval_and_bound() -> None:
    """The table of latencies shows interval, speed-up and bound."""
    table = latency_table(BENCH)
    assert table.rows == (
        ("x", "2.00", "1.00–3.00", "1.00", "1.000", "1.000", "9"),
        ("y", "1.00", "1.00–3.00", "2.00", "0.500", "1.100", "9"),
        ("z", "4.00", "1.00–3.00", "0.50", "0.500", "1.100", "9"),
    )
    assert table.notes == ()


@pytest.mark.golden
def test_unstable_latency_is_marked() -> None:
    """A later model touches its own numbers only."""
    table = latency_table(_unsteady("y"))
    assert table.rows[1] == ("y", "1.00 ?", "1.00–3.00 ?", "2.00 ?", "0.500", "1.100 ?", "9")
    assert not any("?" in cell for row in (table.rows[0], table.rows[2]) for cell in row)
    assert table.notes == ("? y is unstable: y was disturbed",)


@pytest.mark.golden
def test_unstable_baseline_marks_all_ratios() -> None:
    """They all rest on it."""
    table = latency_table(_unsteady("x"))
    assert table.rows == (
        ("x", "2.00 ?", "1.00–3.00 ?", "1.00", "1.000", "1.000", "9"),
        ("y", "1.00", "1.00–3.00", "2.00 ?", "0.500", "1.100 ?", "9"),
        ("z", "4.00", "1.00–3.00", "0.50 ?", "0.500", "1.100 ?", "9"),
    )
    (note,) = table.notes
    assert note.startswith("? x is unstable, and so are all speed-ups and bounds") and "x was disturbed" in note


@pytest.mark.golden
def test_unknown_macs_are_called_unknown() -> None:
    """With advice where to learn why."""
    unknown = dict.fromkeys(("macs", "macs_ratio", "time_over_bound"))
    models = [BENCH["models"][0], {**BENCH["models"][1], **unknown}]
    table = latency_table({**BENCH, "models": models})
    assert table.rows[1] == ("y", "1.00", "1.00–3.00", "2.00", "unknown", "unknown", "9")
    assert table.notes == ("unknown: the MACs of y; `trunkline inspect` says why they cannot be counted",)


@pytest.mark.golden
def test_report_explains_what_is_unstable(tmp_path: Path) -> None:
    """Marks in the cells, and legend and reason below the table, inert as all text from files."""
    bench = _unsteady("y")
    bench["models"][1]["reason"] = "<b>noisy</b>"
    report = write_report(write(tmp_path, bench=bench))
    lines = report.path.read_text().splitlines()
    row = next(number for number, line in enumerate(lines) if line.startswith("| y "))
    assert lines[row].count(" ?") == 4
    assert lines[row + 2 : row + 4] == ["", "? y is unstable: &lt;b&gt;noisy&lt;/b&gt;"]
    assert report.to_json()["tables"][0]["notes"] == ("? y is unstable: <b>noisy</b>",)


@pytest.mark.golden
def test_steady_report_has_no_marks(tmp_path: Path) -> None:
    """Nor a note."""
    content = write_report(write(tmp_path, bench=BENCH)).path.read_text()
    assert "?" not in content and "unstable" not in content


@pytest.mark.abuse
def test_names_stay_inside_their_cells() -> None:
    """Names from files cannot break out of a table."""
    text = Table("t", ("a|b",), (("<b>x\n`y`",),)).to_markdown()
    assert "a\\|b" in text
    assert "<b>" not in text
    assert "&lt;b&gt;x \\`y\\`" in text


@pytest.mark.golden
def test_report_of_an_unfinished_run(tmp_path: Path) -> None:
    """It shows what there is, and a torn last line of the log is left out."""
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


@pytest.mark.properties
def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    """Pictures too."""
    pictures = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        report = write_report(write(tmp_path / name, plan=PLAN, policy=POLICY))
        pictures.append([path.read_bytes() for path in report.pictures])
    assert pictures[0] == pictures[1]


@pytest.mark.abuse
def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """An empty report would say nothing."""
    with pytest.raises(InvalidConfig, match="no run in this folder"):
        write_report(tmp_path)


@pytest.mark.abuse
@pytest.mark.parametrize("name", ["plan", "policy", "search", "train", "export", "bench"])
@pytest.mark.parametrize("content", ['{"a": 1}', "[1]", '"x"', "7", "{"])
def test_file_of_another_form_is_named(tmp_path: Path, name: str, content: str) -> None:
    """Whatever JSON it holds."""
    with pytest.raises(InvalidConfig, match=name):
        write_report(write(tmp_path, **{name: content}))


@pytest.mark.golden
@pytest.mark.parametrize("options", [["shared", "own"], ["shared", "own", "skip", "$half$|\n", "own@3"]])
def test_policies_have_any_options(tmp_path: Path, options: list[str]) -> None:
    """A method may have other options than AutoMTL's three, and call them as it likes."""
    row = [1 / len(options)] * len(options)
    report = write_report(write(tmp_path, policy={**POLICY, "options": options, "probabilities": [[row] * 2] * 2}))
    assert [path.name for path in report.pictures] == ["policy.png"]
