"""``bench`` of a backbone and plans, and of a run: who competes, what is known of each, and the files it writes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from commands import Finished, contents, invoke, pipeline, refused
from documented_json import check_keys, only_json

from trunkline.ingest.read import read
from trunkline.pipeline.config import load_config
from trunkline.pipeline.project import Project
from trunkline.sharing.backbone import Backbone
from trunkline.sharing.layouts.plans import share_until
from trunkline.sharing.lowering.executed_cost import executed_cost
from trunkline.sharing.lowering.lower import lower
from trunkline.sharing.lowering.paper_parameters import paper_parameters

pytestmark = pytest.mark.golden

QUICK = ("--samples", 11, "--limit", 0.05)
BACKBONE = ("zoo:tiny", "--tasks", "segmentation:5,depth", "--head", "none", "--input-size", "32,48")


def test_plans_of_a_backbone(tmp_path: Path) -> None:
    """N models, one for all, and each plan; with what is executed and stored, in a table, JSON, CSV and a picture."""
    backbone = Backbone(read("zoo:tiny", input_size=(32, 48)))
    plans = {block: share_until(backbone, ["segmentation", "depth"], block) for block in ("0", "3")}
    (tmp_path / "plans").mkdir()
    plans["0"].save(tmp_path / "plans/early.json")
    files = ("--csv", "b.csv", "--plot", "b.png")
    arguments = (*BACKBONE, "--plan", "plans", "--share-until", "3", *QUICK, *files)
    found = only_json(invoke("bench", *arguments, "--footprint", "--json"))
    check_keys("bench", found)
    models = {model["name"]: model for model in found["models"]}
    assert list(models) == ["single-task", "multi-task", "early", "until 3"]
    for name, block in (("early", "0"), ("until 3", "3")):
        cost = executed_cost(plans[block], backbone).backbone
        model = models[name]
        assert model["macs"] == cost.macs
        assert model["paper_parameters"] == paper_parameters(lower(plans[block], backbone, {}))
        assert model["macs_ratio"] == cost.macs / models["single-task"]["macs"]
    assert models["single-task"]["parameters"] == 2 * models["multi-task"]["parameters"]
    assert all(model["peak_memory_bytes"] > 0 and model["file_bytes"] > 0 for model in models.values())
    assert all(model["change_percent"] is None for model in models.values())
    rows = list(csv.DictReader(Path("b.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == list(models)
    for row in rows:
        assert float(row["p50_ms"]) == models[row["name"]]["p50_ms"]
        assert float(row["p50_low_ms"]) <= float(row["p50_ms"]) <= float(row["p50_high_ms"])
        assert row["batch"] == "1" and row["runtime"] == "onnxruntime"
    assert float(rows[1]["speed_up"]) == found["ratios"][0]["speed_up"]
    assert Path("b.png").read_bytes().startswith(b"\x89PNG")
    shown = invoke("bench", *arguments).out
    assert "papers' rule (k)" in shown and "written b.csv" in shown and "Δ" not in shown


def test_a_run_with_its_accuracy(finished: Finished, tmp_path: Path) -> None:
    """Its model in each precision beside its baselines; what a precision costs is in its own Δ."""
    out = tmp_path / "run"
    shutil.copytree(finished.out, out)
    exported = invoke("export", finished.pipeline, "--out", out, "--precision", "int8", "--precision", "bfloat16")
    assert exported.code == 0, exported.err
    before = {name: data for name, data in contents(out).items() if name != "bench.json"}
    said = invoke("bench", finished.pipeline, "--out", out, "--threads", 2, "--json")
    found = only_json(said)
    # As the pipeline says, but for what is given.
    assert (found["settings"]["minimum_samples"], found["settings"]["limit_seconds"]) == (11, 0.05)
    assert found["settings"]["threads"] == 2
    check_keys("bench", found)
    assert {name: data for name, data in contents(out).items() if name != "bench.json"} == before
    assert json.loads((out / "bench.json").read_text())["models"] == found["models"]
    models = {model["name"]: model for model in found["models"]}
    assert list(models) == ["single-task", "multi-task", "model", "model int8"]
    # onnxruntime's CPU has no kernels for it: said, and not passed over.
    assert list(found["left_out"]) == ["model bfloat16"] and "note: onnxruntime: model bfloat16 is left out" in said.err
    deltas = json.loads((out / "delta.json").read_text())
    assert models["single-task"]["change_percent"] == 0
    assert models["model"]["change_percent"] == deltas["model"]["mean"]
    assert models["multi-task"]["change_percent"] == deltas["multi-task"]["mean"]
    (int8,) = [
        file for file in json.loads((out / "precisions.json").read_text())["files"] if file["precision"] == "int8"
    ]
    assert models["model int8"]["change_percent"] == pytest.approx(delta_of(int8["metrics"], finished), rel=1e-9)
    assert models["model int8"]["macs"] == models["model"]["macs"]
    assert models["model int8"]["parameters"] == models["model"]["parameters"]
    assert models["model int8"]["file_bytes"] < models["model"]["file_bytes"]
    # And so it stands in a report.
    table = only_json(invoke("report", out, "--out", "page.html", "--json"))["tables"][0]
    (row,) = [row for row in table["rows"] if row[0] == "model int8"]
    assert f"{models['model int8']['change_percent']:+.2f}" in row[1] and "ONNX, int8" in row


def delta_of(metrics: dict[str, dict[str, float]], finished: Finished) -> float:
    """Δ by its formula, from the files; the project only says which metrics count, and in which direction."""
    single = json.loads((finished.out / "train-single-task.json").read_text())["metrics"]
    by_task = []
    for task in Project(load_config(finished.pipeline), finished.out).losses:
        terms = [
            (1 if higher else -1) * 100 * (metrics[task.name][metric] / single[task.name][metric] - 1)
            for metric, higher in task.higher_is_better.items()
            if single[task.name][metric]
        ]
        by_task.append(sum(terms) / len(terms))
    return sum(by_task) / len(by_task)


@pytest.mark.abuse
def test_a_run_without_a_model(tmp_path: Path) -> None:
    path = pipeline(tmp_path)
    refused(invoke("bench", path, "--out", "run"), "run/model.onnx: there is no model yet", f"trunkline export {path}")


@pytest.mark.abuse
@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("a.onnx", "--plan", "p.json"), ("--tasks: plans, layouts and cuts",)),
        (("a.onnx", "b.onnx", "--tasks", "depth"), ("--tasks: 2 backbones",)),
        (("run.toml",), ("--out: a run is measured",)),
        (("a.onnx", "--out", "run"), ("--out: a run is measured",)),
        (("run.toml", "--out", "run"), ("run.toml: cannot read the pipeline file",)),
        ((*BACKBONE, "--plan", "."), (".: there is no plan in this folder",)),
        ((*BACKBONE, "--plan", "none.json"), ("none.json",)),
        ((*BACKBONE, "--share-until", "9"), ("9",)),
        ((*BACKBONE, "--share-until", "1", "--share-until", "1"), ("two models would be called until 1",)),
        ((*BACKBONE, "--runtime", "onnxrutime"), ("onnxruntime",)),
    ],
)
def test_what_cannot_be_measured(arguments: tuple[object, ...], fragments: tuple[str, ...]) -> None:
    refused(invoke("bench", *arguments, *QUICK), *fragments)
