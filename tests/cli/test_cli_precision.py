"""`trunkline export --precision` as a user meets it: files beside the float32 one, each with its tasks' metrics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from commands import Finished, invoke, pipeline, refused
from documented_json import check_keys, only_json

from trunkline.report.tables import precision_table

pytestmark = pytest.mark.golden
BOTH = ("--precision", "float16", "--precision", "int8")


@pytest.fixture
def run(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished run, to write into."""
    return Path(shutil.copytree(finished.out, tmp_path / "run"))


def test_files_of_other_precisions(finished: Finished, run: Path) -> None:
    """Each stands beside model.onnx, is smaller, and is judged by the tasks; the float32 file is the same as before."""
    before = (run / "model.onnx").read_bytes()
    found = only_json(invoke("export", finished.pipeline, "--out", run, *BOTH, "--quiet", "--json"))
    check_keys("export", {key: value for key, value in found.items() if key != "precisions"})
    check_keys("precisions", found["precisions"])
    assert (run / "model.onnx").read_bytes() == before
    kept = json.loads((run / "precisions.json").read_text())
    assert kept == found["precisions"]
    half, small = kept["files"]
    assert [half["precision"], small["precision"]] == ["float16", "int8"]
    assert [Path(file["path"]).name for file in kept["files"]] == ["model.float16.onnx", "model.int8.onnx"]
    assert small["file_bytes"] < half["file_bytes"] < kept["float32"]["file_bytes"] == len(before)
    assert small["parameters"] == half["parameters"] == found["parameters"]
    for file in kept["files"]:
        onnx.checker.check_model(file["path"], full_check=True)
        assert file["parity"]["passed"]
        for task, metrics in file["metrics"].items():
            assert metrics.keys() == kept["float32"]["metrics"][task].keys()
    # Of the twin's own metrics, which were found in float32, half precision moves little, and something.
    trained = json.loads((run / "train.json").read_text())["metrics"]
    assert kept["float32"]["metrics"]["depth"]["rmse"] == pytest.approx(trained["depth"]["rmse"], rel=1e-4)
    assert 0 < abs(half["change"]["mean"]) < 1
    said = invoke("report", run)
    assert said.code == 0 and "### Precisions" in (run / "report.md").read_text()
    assert invoke("report", run, "--out", run / "page.html").code == 0 and "int8" in (run / "page.html").read_text()
    rows = [row[0] for row in precision_table(kept).rows]
    assert rows == ["float32", "float16", "int8"]


def test_what_costs_a_task_too_much_stays_in_float32(run: Path, tmp_path: Path) -> None:
    """With no loss allowed, the parts that lose most are kept, by the samples that choose; a named one in any case."""
    strict = ("parity_inputs = 2\n", 'parity_inputs = 2\nprecisions = ["int8"]\nmax_drop = 0.0\nkeep = ["conv1"]\n')
    path = pipeline(tmp_path, strict)
    found = only_json(invoke("export", path, "--out", run, "--quiet", "--json"))["precisions"]["files"][0]
    assert found["in_float32"][0] == "conv1"
    assert found["chosen_by"]["change_percent"] >= 0
    recovered = found["chosen_by"]["recovered"]
    order = found["in_float32"][1:]
    assert order == sorted(recovered, key=lambda part: -recovered[part])[: len(order)]
    row = precision_table(json.loads((run / "precisions.json").read_text())).rows[1]
    assert "conv1" in row[-2]


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ('precisions = ["int4"]', "export.precisions"),
        ('precisions = ["int8"]\nkeep = ["conv9"]', 'the model has no part "conv9"'),
        ('precisions = ["int8"]\nranges = "mean"', "export.ranges"),
        ("percentile = 20", "export.percentile"),
    ],
)
def test_wrong_precisions_are_refused(run: Path, tmp_path: Path, change: str, fragment: str) -> None:
    path = pipeline(tmp_path, ("parity_inputs = 2\n", f"parity_inputs = 2\n{change}\n"))
    refused(invoke("export", path, "--out", run, "--quiet"), fragment)
    assert not list(run.glob("*int8*"))
