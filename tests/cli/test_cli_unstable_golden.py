"""Golden: a latency that is not steady is called so wherever it, or what follows from it, is shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import Finished, Said, invoke

from trunkline.bench.device.state import DeviceState

pytestmark = pytest.mark.golden

REASON = "a neighbour was loud"
NAMES = ["single-task", "multi-task", "model"]


@pytest.fixture(params=[REASON, ""], ids=["unstable", "steady"])
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every series of samples is found unsteady for this reason, or steady, on a device that tells nothing."""
    monkeypatch.setattr("trunkline.bench.protocol.read_device", lambda **options: DeviceState())
    monkeypatch.setattr("trunkline.bench.latency.instability", lambda samples: request.param)
    return str(request.param)


@pytest.fixture
def measured(planted: str, finished: Finished) -> Said:
    """A finished run, measured and reported once more in the folder ``run``."""
    shutil.copytree(finished.out, "run")
    said = invoke("run", finished.pipeline, "--out", "run", "--quiet")
    assert said.code == 0, said.err
    return said


def latency_lines(text: str) -> list[str]:
    """What follows the latency table's title, up to the next part."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.lstrip("# ").startswith("Latency ("))
    end = next((number for number in range(start + 1, len(lines)) if lines[number].startswith("#")), len(lines))
    return lines[start:end]


def check_table(lines: list[str], planted: str) -> None:
    """Marks in each row's own cells, and a note for each model with its reason; or neither."""
    below = lines[1 + next(number for number, line in enumerate(lines) if "p50" in line) :]  # its head says "model" too
    rows = {name: next(line for line in below if line.strip("| ").startswith(name)) for name in NAMES}
    notes = [line for line in lines if line.startswith("? ")]
    if not planted:
        assert not notes
        assert "?" not in "".join(lines)
        return
    assert {name: row.count(" ?") for name, row in rows.items()} == dict(zip(NAMES, (2, 4, 4), strict=True))
    assert len(notes) == 3
    assert all(name in note and planted in note for name, note in zip(NAMES, notes, strict=True))


def test_all_places_say_what_is_unstable(planted: str, measured: Said) -> None:
    """The terminal's table, its last line, ``report.md`` and the JSON files."""
    check_table(latency_lines(measured.out), planted)
    check_table(latency_lines(Path("run/report.md").read_text(encoding="utf-8")), planted)
    last = measured.out.splitlines()[-1]
    assert last.startswith("latency ")
    assert "as fast as single-task [" in last
    assert ("unstable: single-task: a neighbour was loud; model: a neighbour was loud" in last) == bool(planted)
    bench = json.loads(Path("run/bench.json").read_text())
    assert bench["stable"] == (not planted)
    assert [(model["stable"], model["reason"]) for model in bench["models"]] == [(not planted, planted)] * 3
    for ratio, name in zip(bench["ratios"], NAMES[1:], strict=True):
        assert ratio["stable"] == (not planted)
        assert ratio["reason"] == (f"single-task: {planted}; {name}: {planted}" if planted else "")
    result = json.loads(Path("run/result.json").read_text())
    assert result["bench"] == bench
    tables = result["report"]["tables"]
    (notes,) = (table["notes"] for table in tables if table["title"].startswith("Latency"))
    assert len([note for note in notes if note.startswith("?")]) == (3 if planted else 0)


def test_a_report_written_again_says_it_too(planted: str, finished: Finished) -> None:
    shutil.copytree(finished.out, "run")
    bench = json.loads(Path("run/bench.json").read_text())
    for model in bench["models"]:
        model |= {"stable": not planted, "reason": planted}
    Path("run/bench.json").write_text(json.dumps(bench))
    said = invoke("report", "run")
    check_table(latency_lines(said.out), planted)
    check_table(latency_lines(Path("run/report.md").read_text(encoding="utf-8")), planted)


def test_bench_says_it_in_its_table(planted: str, finished: Finished) -> None:
    files = (finished.out / "bench" / "multi-task.onnx", finished.out / "model.onnx")
    said = invoke("bench", *files, "--samples", 11, "--limit", 0.05)
    assert said.code == 0, said.err
    assert ("? multi-task is unstable, and so are all speed-ups and bounds" in said.out) == bool(planted)
    assert (f"? model is unstable: {REASON}" in said.out) == bool(planted)
    assert said.out.count(" ?") == (6 if planted else 0)
