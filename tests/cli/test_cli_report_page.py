"""`trunkline report --out` as a user meets it, on a run that every stage has made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import Finished, contents, invoke, refused
from documented_json import check_keys, only_json

from trunkline.ingest.read import read
from trunkline.report.html.executed import executed_of

pytestmark = pytest.mark.golden


def test_one_page_about_a_run(finished: Finished, tmp_path: Path) -> None:
    """Its JSON is documented, nothing else is written, and it has what only a real run has."""
    before = contents(finished.out)
    content = only_json(invoke("report", finished.out, "--out", "report.html", "--json"))
    assert content["report"] == "report.html"
    check_keys("report", {**content, "pictures": [""]})
    assert content["tables"][0]["title"] == "All models: accuracy, latency and size"
    assert contents(finished.out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for what in ("What is executed, and for whom", "How undecided the search was", "Predictions beside what is true"):
        assert what in text
    assert re.search(r"trunkline report \S+ --out report.html", text)


def test_what_is_executed_is_what_was_exported(finished: Finished) -> None:
    """The drawing's parts cost what the file costs, and are for whom the plan says."""
    found = executed_of(read(finished.out / "model.onnx"))
    assert found is not None
    assert sum(part.macs or 0 for part in found.parts) == json.loads((finished.out / "export.json").read_text())["macs"]
    plan = json.loads((finished.out / "plan.json").read_text())
    assert sorted(found.tasks) == sorted(plan["tasks"])
    for part in found.parts:
        if part.instance:
            who = {task for task, choice in plan["units"][found.rows[part.row]].items() if str(choice) == part.instance}
            assert set(part.tasks) <= who


def test_the_last_logged_policy_is_the_learned(finished: Finished) -> None:
    """To the four digits of the log; choices without alternatives are not in it."""
    records = map(json.loads, (finished.out / "search" / "metrics.jsonl").read_text().splitlines())
    *_, last = [record for record in records if record["kind"] == "policy"]
    policy = json.loads((finished.out / "policy.json").read_text())
    seen = 0
    for unit, rows in zip(policy["units"], policy["probabilities"], strict=True):
        for task, row in zip(policy["tasks"], rows, strict=True):
            known = sorted(p for p in row if p > 0)
            if len(known) > 1:
                assert sorted(last["probabilities"][task][unit]) == pytest.approx(known, abs=1e-4)
                seen += 1
    assert seen == sum(len(choices) for choices in last["probabilities"].values()) > 10


def test_runs_and_measurements_on_one_page(finished: Finished, tmp_path: Path) -> None:
    """What was measured elsewhere stands beside a run in the first table; people get the summary."""
    (tmp_path / "board.json").write_text(json.dumps({"models": [{"name": "on the board", "p50_ms": 41.5}]}))
    said = invoke("report", finished.out, "board.json", "--out", "report.html")
    assert said.code == 0, said.err
    assert "One model does 2 tasks: segmentation and depth." in said.out
    assert "board.json\n" in said.out
    assert re.search(r"report  report.html  \(\d\.\d\d MB\)", said.out)
    assert "on the board" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.abuse
def test_what_cannot_be_a_page_is_refused(finished: Finished, tmp_path: Path) -> None:
    """Two problems at once, each with its place; no page is left, an old one stays."""
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "empty").mkdir()
    said = invoke("report", "gone", finished.out, "nowhere/x", "--out", "report.html")
    refused(said, "gone: there is no such file or folder", "nowhere/x: there is no such file")
    refused(invoke("report", "empty", "--out", "report.html"), "empty: there is no run in this folder")
    refused(invoke("report", finished.out, "--out", "gone/report.html"), "gone", "give the path of a file")
    refused(invoke("report", finished.out, "--out", "empty"), "is a folder")
    refused(invoke("report", "--out", "report.html"), "nothing is named")
    refused(invoke("report", finished.out, finished.out), "2 runs are named", "--out report.html")
    refused(invoke("report"), "0 runs are named")
    assert (tmp_path / "report.html").read_text() == "old"
