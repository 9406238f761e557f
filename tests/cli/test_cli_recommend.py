"""`trunkline recommend` and `trunkline sweep` as a user meets them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import ROOT, invoke, pipeline, refused
from documented_json import check_keys, only_json

from trunkline.graph.blocks import find_blocks
from trunkline.graph.branching_rule import Branching
from trunkline.ingest.read import read
from trunkline.sharing.layouts.plans import layout_of_plan
from trunkline.sharing.plan import SharingPlan

pytestmark = pytest.mark.golden
TASKS = ("a", "b", "c")
PAPER_BLOCKS = [[0], [1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11, 12, 13], [14, 15, 16]]
"""TreeMTL's five blocks of Deeplab-ResNet34."""
SHARED = ROOT.parent / "shared" / "data" / "two_task" / "nyuv2_resnet34.csv"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path, rng = tmp_path / "table.csv", np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "partner", "branch_point", "relative_performance_percent"])
        for task in TASKS:
            for partner in TASKS:
                if task != partner:
                    writer.writerows([task, partner, point, rng.normal() * point] for point in range(4))
    return path


def recommended(table: Path, *more: object) -> Any:
    return only_json(invoke("recommend", table, "--backbone", "zoo:tiny", "--blocks", 3, "--json", *more))


def test_recommend_prints_what_is_documented(table: Path, tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    blocks = find_blocks(read("zoo:tiny"))
    write_costs(costs)
    found = recommended(table, "--explain", "--random", 2, "--save-plan", tmp_path / "plans", "--costs", costs)
    check_keys("recommend", found)
    assert (found["count"], found["feasible"], found["proved"]) == (22, 22, True)
    assert sum(found["weights"].values()) == pytest.approx(1)
    assert [run for block in found["blocks"] for run in block["holds"]] == list(range(len(blocks)))
    scores = [entry["score"] for entry in found["layouts"]]
    assert scores == sorted(scores, reverse=True) and found["bound"] <= scores[-1]
    for entry in (*found["layouts"], *found["random"]):
        weighted = sum(found["weights"][task] * entry["estimates"][task] for task in TASKS)
        assert entry["score"] == pytest.approx(weighted)
        groups = [len(level) for level in entry["layout"]]
        costs_of = [sum(blocks[number].cost.macs for number in block["holds"]) for block in found["blocks"]]
        macs = sum(count * cost for count, cost in zip(groups, costs_of, strict=True))
        assert entry["macs"] == macs
        assert entry["macs_percent"] == pytest.approx(100 * (macs / (3 * sum(costs_of)) - 1))
    assert not {entry["index"] for entry in found["random"]} & {entry["index"] for entry in found["layouts"]}
    assert len(found["plans"]) == 7 and all(Path(path).is_file() for path in found["plans"])


def write_costs(path: Path) -> None:
    """A table in which each operator takes as long as it has parameters."""
    from trunkline.sharing.backbone import Backbone
    from trunkline.sharing.cost_table import CostTable, UnitTime
    from trunkline.sharing.plan import BackboneId

    backbone = Backbone(read("zoo:tiny"))
    units = {unit.name: UnitTime(ms=unit.cost.parameters / 1e3) for unit in backbone.table("operator").units}
    identity = BackboneId(name=backbone.name, fingerprint=backbone.fingerprint)
    CostTable(backbone=identity, input_size=(64, 96), units=units).save(path)


def test_saved_plans_are_built(table: Path, tmp_path: Path) -> None:
    """A recommended plan is a plan: it says what it was expected to come to, and executes what was counted."""
    found = recommended(table, "--top", 3, "--save-plan", tmp_path / "plans")
    for entry, path in zip(found["layouts"], found["plans"], strict=True):
        plan = SharingPlan.load(Path(path))
        layout = layout_of_plan(plan)
        assert layout is not None and plan.method == "treemtl"
        assert plan.provenance["score"] == entry["score"] and plan.provenance["estimates"] == entry["estimates"]
        starts = [block["holds"][0] for block in found["blocks"]]
        assert [[list(group) for group in layout.blocks[number]] for number in starts] == entry["layout"]
        out = tmp_path / "model.onnx"
        built = only_json(
            invoke("build", "zoo:tiny", out, "--tasks", "a,b,c", "--plan", path, "--head", "none", "--json")
        )
        assert built["macs"]["executed"] == entry["macs"]
        onnx.checker.check_model(str(out))


@pytest.mark.parametrize(
    ("budget", "kind", "limit"),
    [
        (("--budget-models", 2), "macs", 2 / 3),
        (("--budget-parameters", 250_000), "parameters", 250_000),
        (("--budget-bytes", 1_000_000), "parameters", 250_000),
        (("--budget-macs", 100_000_000), "macs", 100_000_000),
    ],
)
def test_budgets_hold(table: Path, budget: tuple[object, ...], kind: str, limit: float) -> None:
    found = recommended(table, *budget, "--top", 30)
    free = recommended(table, "--top", 30)
    assert found["feasible"] == len(found["layouts"]) < free["feasible"] == 22
    single = sum(block.cost.macs for block in find_blocks(read("zoo:tiny")))
    most = limit * 3 * single if limit < 1 else limit
    fitting = [entry["index"] for entry in free["layouts"] if entry[kind] <= most]
    assert [entry["index"] for entry in found["layouts"]] == fitting


def test_given_layouts_are_scored(table: Path, tmp_path: Path) -> None:
    free = {entry["index"]: entry for entry in recommended(table, "--top", 30)["layouts"]}
    path = tmp_path / "layouts.json"
    path.write_text(json.dumps([free[3]["layout"], free[0]["layout"], free[7]["layout"]]))
    found = recommended(table, "--layout", path)["layouts"]
    assert sorted(entry["score"] for entry in found) == pytest.approx(sorted(free[i]["score"] for i in (3, 0, 7)))
    assert [entry["score"] for entry in found] == sorted((entry["score"] for entry in found), reverse=True)
    said = invoke("recommend", table, "--backbone", "zoo:tiny", "--blocks", 3, "--layout", path)
    assert said.code == 0 and "proved" not in said.out  # nothing is recommended


def test_the_terminal_shows_trees_and_reasons(table: Path, tmp_path: Path) -> None:
    picture = tmp_path / "layouts.png"
    said = invoke(
        "recommend", table, "--backbone", "zoo:tiny", "--blocks", 3, "--top", 2, "--explain", "--plot", picture
    )
    assert said.code == 0, said.err
    assert "22 layouts of 3 tasks and 3 blocks" in said.out and "─" in said.out
    assert "proved optimal: no other layout scores more than" in said.out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the table is about 3 blocks, and the backbone has 7"),
        (("--blocks", 4), "the table is about 3 blocks, and the backbone has 4"),
        (("--blocks", 9), "7 blocks cannot be merged into 9"),
        (("--blocks", "none.json"), "no such file exists"),
        (("--blocks", 3, "--budget-models", 0.5), "no layout fits into models of 0.5"),
        (("--blocks", 3, "--budget-models", -1), "is no amount"),
        (("--blocks", 3, "--budget-ms", 3), "need a cost table"),
        (("--blocks", 3, "--blocks-by", "ms"), "take as many milliseconds need a cost table"),
        (("--blocks", 3, "--branch-after", "conv9"), 'there is no value or node "conv9"'),
        (("--blocks", 3, "--branch-after", "a,,b"), "holds an empty name"),
        (("--blocks", 3, "--top", 0), "0 layouts are asked for"),
        (("--blocks", 3, "--tasks", "x,y"), "2 names, and the table has 3 tasks"),
        (("--blocks", 3, "--random", 30), "30 layouts are to be drawn, and 17 are left"),
    ],
)
def test_wrong_questions_are_refused(table: Path, arguments: tuple[object, ...], message: str) -> None:
    said = invoke("recommend", table, "--backbone", "zoo:tiny", *arguments)
    assert said.code == 2 and not said.out
    assert message in said.err and "Traceback" not in said.err


@pytest.mark.parametrize("by", ["macs", "parameters", "ms"])
def test_blocks_are_merged_by_any_cost(table: Path, tmp_path: Path, by: str) -> None:
    """Of all ways to make three runs, the one whose costs have the smallest sum of squares."""
    costs = tmp_path / "costs.json"
    write_costs(costs)
    found = recommended(table, "--blocks-by", by, "--costs", costs)
    blocks = find_blocks(read("zoo:tiny"))
    each = [getattr(block.cost, "macs" if by == "macs" else "parameters") for block in blocks]
    if by == "ms":  # the table has the times of operators alone: no normalisation
        units = json.loads(costs.read_text())["units"]
        each = [sum(units[node]["ms"] for node in block.nodes if node in units) for block in blocks]
    ways = [((0, a), (a, b), (b, len(each))) for a in range(1, len(each)) for b in range(a + 1, len(each))]
    best = min(ways, key=lambda runs: sum(sum(each[start:end]) ** 2 for start, end in runs))
    assert [block["holds"] for block in found["blocks"]] == [list(range(start, end)) for start, end in best]


def test_trees_part_where_the_user_says(table: Path, tmp_path: Path) -> None:
    """A plan of blocks that were merged the other way is built of the same blocks, and of no others."""
    rule = ("--branch-merge", "next", "--no-branch-after", "stage2_block1_add")
    found = recommended(table, *rule, "--top", 1, "--save-plan", tmp_path)
    assert sum(len(block["holds"]) for block in found["blocks"]) == 6
    build = ("build", "zoo:tiny", tmp_path / "m.onnx", "--tasks", "a,b,c", "--plan", *found["plans"], "--head", "none")
    assert only_json(invoke(*build, *rule, "--json"))["macs"]["executed"] == found["layouts"][0]["macs"]
    said = invoke(*build)
    assert said.code == 2 and "the plan is for other blocks: merged with the next" in said.err
    inspected = only_json(invoke("inspect", "zoo:tiny", *rule, "--branch-after", "conv1_bn", "--json"))
    check_keys("inspect", inspected)
    assert len(inspected["blocks"]) == 7 and inspected["blocks"][0]["output"] == "conv1"
    assert inspected["blocks"][1]["nodes"] == ["conv1_bn"]
    assert {"conv1", "conv1_bn", "conv1_relu"} <= set(inspected["candidates"])


@pytest.mark.skipif(not SHARED.is_file(), reason="TreeMTL's measured table is not in the repository")
def test_the_paper_s_recommendation(tmp_path: Path) -> None:
    """NYUv2 and Deeplab-ResNet34: the paper's Table 1, in the order of its release's own list."""
    blocks = tmp_path / "blocks.json"
    blocks.write_text(json.dumps(PAPER_BLOCKS))
    command = ("recommend", SHARED, "--backbone", "zoo:deeplab_resnet34", "--blocks", blocks, "--json")
    found = only_json(invoke(*command))
    assert [entry["index"] for entry in found["layouts"]] == [45, 0, 50, 37, 49]
    assert list(found["weights"].values()) == pytest.approx([0.094, 0.578, 0.329], abs=1e-3)
    macs = {0: -66.67, 45: -36.56, 50: -46.87, 37: -34.87, 49: -46.87}
    parameters = {0: -66.66, 45: -35.45, 50: -46.13, 37: -33.70, 49: -46.13}
    for entry in found["layouts"]:
        assert entry["macs_percent"] == pytest.approx(macs[entry["index"]], abs=0.05)
        assert entry["parameters_percent"] == pytest.approx(parameters[entry["index"]], abs=0.05)


def test_sweep_prints_what_is_documented(tmp_path: Path) -> None:
    """From N models to one: work as counted, and no plan costs more than the one before it."""
    picture = tmp_path / "sweep.png"
    command = ("sweep", "zoo:tiny", "--tasks", "a,b:3", "--blocks", 3, "--samples", 11, "--limit", 1, "--plot", picture)
    found = only_json(invoke(*command, "--json"))
    check_keys("sweep", {**found, "bench": {}})
    check_keys("bench", found["bench"])
    points = found["points"]
    assert [point["shared"] for point in points] == [0, 1, 2, 3] and points[0]["speed_up"] == 1
    macs = [point["macs"] for point in points]
    assert macs == sorted(macs, reverse=True) and points[0]["macs_percent"] == pytest.approx(0)
    assert [model["macs"] for model in found["bench"]["models"]] == macs
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert points[-1]["block"] == "stage3_block2_conv1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--tasks", ""), "task"), (("--tasks", "a,b", "--blocks", 30), "cannot be merged"), (("--tasks", "a,a"), "a")],
)
def test_wrong_sweeps_are_refused(arguments: tuple[object, ...], message: str) -> None:
    said = invoke("sweep", "zoo:tiny", *arguments)
    assert said.code == 2 and message in said.err and "Traceback" not in said.err


def test_pipeline_says_where_tasks_part(tmp_path: Path) -> None:
    search = ("[search]\nsteps = [2, 4]\nalternate = [1, 1]\n", '[search]\nmethod = "share-until"\nblock = "conv1"\n')
    rule = ("[data]\n", '[branching]\nmerge = "next"\nnot_after = ["stage2_block1_add"]\n\n[data]\n')
    path, out = pipeline(tmp_path, search, rule), tmp_path / "out"
    for command in ("search", "train"):
        assert invoke(command, path, "--out", out, "--quiet").code == 0
    plan = SharingPlan.load(out / "plan.json")
    assert plan.branching == Branching("next", not_after=("stage2_block1_add",)) and len(plan.units) == 6
    # What was trained was another model.
    refused(invoke("train", pipeline(tmp_path, search), "--out", out), "the plan is for other blocks")
    for wrong, said in (('merge = "both"', "branching.merge"), ('after = ["conv9"]', 'no value or node "conv9"')):
        path = pipeline(tmp_path, search, ("[data]\n", f"[branching]\n{wrong}\n\n[data]\n"), name="wrong.toml")
        refused(invoke("search", path, "--out", tmp_path / "other"), said)
