"""`trunkline two-task` as a user meets it: a table by jobs, of which a kill costs one; and the method that reads it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from commands import contents, ended, invoke, pipeline, refused, spawn
from documented_json import check_keys, only_json
from job_work import job_processes

from trunkline.sharing.layouts.table_file import load_table
from trunkline.sharing.plan import SharingPlan

pytestmark = pytest.mark.abuse
SEARCH = ("[search]\nsteps = [2, 4]\nalternate = [1, 1]\n", '[search]\nmethod = "treemtl"\nblocks = 2\n')


def test_a_table_is_measured_and_used(tmp_path: Path) -> None:
    """The method with the table takes what `recommend` recommends, and so does the method that measures it itself."""
    path, out = pipeline(tmp_path, SEARCH), tmp_path / "pairs"
    found = only_json(invoke("two-task", path, "--out", out, "--json"))
    check_keys("two-task", found)
    table = load_table(out / "two_task.csv")
    assert (table.tasks, table.blocks) == (("segmentation", "depth"), 2)
    assert {
        row["branch_point"]: row["relative_performance_percent"] for row in found["rows"] if row["task"] == "depth"
    } == dict(enumerate(table.series("depth", "segmentation")))
    assert table.series("depth", "segmentation")[0] == 0 and any(table.series("depth", "segmentation")[1:])
    before = contents(out)
    again = invoke("two-task", path, "--out", out)
    assert again.code == 0 and "to be done" not in again.err
    assert contents(out) == before
    # Said at once, not by each of its models.
    changed = invoke("two-task", pipeline(tmp_path, SEARCH, ("steps = 4\n", "steps = 5\n")), "--out", out)
    refused(changed, "train.steps")
    assert contents(out) == before and changed.err.count("train.steps") == 1
    path = pipeline(tmp_path, SEARCH)

    ranked = only_json(
        invoke(
            "recommend",
            out / "two_task.csv",
            "--backbone",
            "zoo:tiny",
            "--blocks",
            2,
            "--input-size",
            "32,48",
            "--json",
        )
    )
    with_table = pipeline(tmp_path, (SEARCH[0], SEARCH[1] + 'table = "pairs/two_task.csv"\n'), name="with_table.toml")
    assert invoke("search", with_table, "--out", tmp_path / "quick", "--quiet").code == 0
    plan = SharingPlan.load(tmp_path / "quick/plan.json")
    assert plan.method == "treemtl" and plan.provenance["index"] == ranked["layouts"][0]["index"]
    assert invoke("search", path, "--out", tmp_path / "whole", "--quiet").code == 0
    whole = SharingPlan.load(tmp_path / "whole/plan.json")
    assert whole.units == plan.units and whole.provenance["table"] == plan.provenance["table"]


@pytest.mark.slow  # of the same workers, tests/train/test_jobs_abuse.py has this in the default suite
def test_a_kill_costs_one_job(tmp_path: Path) -> None:
    path, out = pipeline(tmp_path, SEARCH), tmp_path / "pairs"
    process = spawn("two-task", path, "--out", out, cwd=tmp_path)
    log = out / "pairs/segmentation+depth-1/seed-3.log"
    wait_for(log.exists)
    os.kill(child_of(process.pid), signal.SIGKILL)
    said = ended(process)
    assert said.code == 3 and "Traceback" not in said.err
    assert "segmentation+depth-1 seed 3: ended by SIGKILL" in said.err and "called again" in said.err
    assert not (out / "two_task.csv").exists()
    done = json.loads((out / "pairs/segmentation+depth-2/seed-3/pair.json").read_text())
    again = invoke("two-task", path, "--out", out)
    assert again.code == 0 and "1 of 3 models to be done" in again.err
    assert json.loads((out / "pairs/segmentation+depth-2/seed-3/pair.json").read_text()) == done


def wait_for(happened: object, seconds: float = 90.0) -> None:
    assert callable(happened)
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def child_of(pid: int) -> int:
    """Return the process that does a run."""
    wait_for(lambda: bool(job_processes(pid)))
    (found,) = job_processes(pid)
    return found


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ((), "pairs are trained for the method treemtl"),
        ((SEARCH[0], SEARCH[1] + 'table = "x.csv"\n'), "names a table"),
        ((SEARCH[0], '[search]\nmethod = "treemtl"\nblocks = 9\n'), "cannot be merged into 9"),
        ((SEARCH[0], '[search]\nmethod = "treemtl"\nblocks = [[0], [2]]\n'), "each once and in order"),
    ],
)
def test_pipelines_without_pairs_are_refused(tmp_path: Path, changes: tuple[str, str], fragment: str) -> None:
    path = pipeline(tmp_path, *([changes] if changes else []))
    refused(invoke("two-task", path, "--out", tmp_path / "out"), fragment)


@pytest.mark.parametrize(
    ("table", "fragment"),
    [
        ("segmentation,normals", "the table is about segmentation, normals, and the tasks are segmentation, depth"),
        ("segmentation,depth", "the table is about 1 blocks, and the backbone has 2"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, table: str, fragment: str) -> None:
    """They are refused before any work."""
    a, b = table.split(",")
    rows = [f"{t},{u},{point},{point}" for t, u in ((a, b), (b, a)) for point in (0, 1)]
    (tmp_path / "t.csv").write_text("\n".join(["task,partner,branch_point,relative_performance_percent", *rows]))
    path = pipeline(tmp_path, (SEARCH[0], SEARCH[1] + 'table = "t.csv"\n'))
    refused(invoke("search", path, "--out", tmp_path / "out"), fragment)
    assert not (tmp_path / "out").exists()


def test_what_to_share_needs_a_budget(tmp_path: Path) -> None:
    path = pipeline(tmp_path, (SEARCH[0], '[search]\nmethod = "what-to-share"\n'))
    refused(invoke("search", path, "--out", tmp_path / "out"), "without a budget the best tree shares nothing")
    path = pipeline(tmp_path, (SEARCH[0], '[search]\nmethod = "what-to-share"\nmax_models = 1.5\nblocks = 3\n'))
    said = invoke("search", path, "--out", tmp_path / "out", "--quiet")
    assert said.code == 0, said.err
    plan = SharingPlan.load(tmp_path / "out/plan.json")
    assert plan.provenance["proved"] and len(plan.provenance["affinities"]) == 3


@pytest.mark.slow  # six trainings, each a process
def test_recommended_plans_are_judged(tmp_path: Path) -> None:
    """Estimates and rankings of saved plans, against what their models come to, beside the pipeline's own variants."""
    pairs = (("segmentation", "depth"), ("depth", "segmentation"))
    rows = [f"{task},{other},{point},{-point * point}" for task, other in pairs for point in range(6)]
    table, plans = tmp_path / "table.csv", tmp_path / "plans"
    table.write_text("\n".join(["task,partner,branch_point,relative_performance_percent", *rows]))
    saved = ("--top", 4, "--save-plan", plans, "--input-size", "32,48", "--json")
    found = only_json(invoke("recommend", table, "--backbone", "zoo:tiny", "--blocks", 5, *saved))
    steps, variant = ("steps = 4\n", "steps = 1\n"), ("[export]\n", "[variants.multi-task]\n\n[export]\n")
    path, out = pipeline(tmp_path, SEARCH, steps, variant), tmp_path / "out"
    said = invoke("compare", path, "--plans", plans, "--seeds", 1, "--jobs", 2, "--out", out, "--quiet", "--json")
    content = only_json(said)
    check_keys("compare", content)
    by_name = {row["method"]: row for row in content["rows"]}
    assert list(by_name) == ["single-task", "multi-task", *(f"plan:{plans / f'plan-{n}.json'}" for n in range(1, 5))]
    assert {key: judged["n"] for key, judged in content["judged"].items()} == {"segmentation": 4, "depth": 4, "mean": 4}
    # Of the four plans the best shares nothing, so its Δ says nothing; `multi-task` makes four.
    assert [ranking["by"] for ranking in content["rankings"]] == ["treemtl", "more MACs", "chance", "hindsight"]
    scores = {tree["name"]: tree["score"] for tree in content["rankings"][0]["trees"]}
    assert len(scores) == 4 and scores["multi-task"] == -25
    assert [scores[f"plan:{path}"] for path in found["plans"][1:]] == [each["score"] for each in found["layouts"][1:]]
    assert str(out / "rankings.png") in content["pictures"] and "How good rankings" in (out / "compare.md").read_text()
